"""The built-in gateway: OpenAI's protocol and no model behind it; imports nothing of ours."""
