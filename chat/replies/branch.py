"""What a generation asks of the model, read from its branch."""

from typing import Any

from chat.models import Generation

from . import estimates, prompt


def turns(generation: Generation) -> list[prompt.Turn]:
    """The system prompt, the branch down to the question, and what a reply has to be continued."""
    messages = generation.conversation.messages.order_by()
    rows = {pk: row for pk, *row in messages.values_list("id", "parent_id", "role", "text")}
    found = []
    step = rows.get(generation.message.parent_id)
    while step is not None:
        parent, role, text = step
        found.append(prompt.Turn(role, text))
        step = rows.get(parent)
    if generation.conversation.system_prompt:
        found.append(prompt.Turn("system", generation.conversation.system_prompt))
    found.reverse()
    if generation.kind == "continue":
        had = generation.message.text[: generation.base_text]
        found += [prompt.Turn("assistant", had), prompt.Turn("user", prompt.GO_ON)]
    return found


def cut_usage(generation: Generation) -> dict[str, Any]:
    """Columns for a call that a crash cut, by what the row has of it; none where nothing came."""
    message = generation.message
    answered = message.reasoning[generation.base_reasoning :] + message.text[generation.base_text :]
    if not answered:
        return {}
    return estimates.of_cut_call(prompt.build(turns(generation)), answered)
