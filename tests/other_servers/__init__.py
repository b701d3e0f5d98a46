"""Servers that nobody here wrote, and a chat with each of them."""
