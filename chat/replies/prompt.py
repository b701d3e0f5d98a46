"""From a branch of a conversation to the messages of a request."""

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

from .estimates import TOKENS_A_MESSAGE, estimate_tokens

ROOM_TOKENS = 4096
GO_ON = "Continue exactly where your last message stops. Do not repeat or introduce anything."


class Turn(NamedTuple):
    role: Literal["system", "user", "assistant"]
    text: str


# What a gateway wants beside a reply's beginning that comes last: of the request, of the message.
PREFILLS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "prefill": ({}, {}),
    "prefix": ({}, {"prefix": True}),
    "final": ({"continue_final_message": True, "add_generation_prompt": False}, {}),
}


class PromptTooLong(Exception):
    """The last question alone exceeds the budget."""


def budget_tokens(context_tokens: int | None, max_tokens: int | None = None) -> int | None:
    """How long a prompt may be, with room for a reply; None where the context's size is not known.

    The room is `max_tokens` where a reply is bounded by it: some gateways refuse what can't hold both.
    """
    if not context_tokens:
        return None
    if max_tokens is None:
        return context_tokens - min(context_tokens // 4, ROOM_TOKENS)
    return context_tokens - min(context_tokens * 3 // 4, max_tokens)


def build(turns: Sequence[Turn], budget_tokens: int | None = None) -> list[dict[str, str]]:
    """The newest turns that fit the budget, oldest first, as {"role", "content"}.

    Empty turns (a reply that failed) are left out and what then stands side by side under one role is
    joined, since some gateways insist on roles that take turns. System turns and the last turn are
    always kept; raises PromptTooLong if they alone exceed the budget.
    """
    messages: list[dict[str, str]] = []
    for turn in turns:
        if not turn.text:
            continue
        if messages and messages[-1]["role"] == turn.role:
            messages[-1]["content"] += "\n\n" + turn.text
        else:
            messages.append({"role": turn.role, "content": turn.text})
    if budget_tokens is None or not messages:
        return messages
    return _newest_that_fit(messages, budget_tokens)


def prefilled(messages: Sequence[dict[str, str]], continuation: str) -> dict[str, Any]:
    """The body's part for a gateway that continues a beginning, out of one that ends in GO_ON."""
    of_request, of_message = PREFILLS[continuation]
    *before, beginning, _go_on = messages
    return of_request | {"messages": [*before, beginning | of_message]}


def _newest_that_fit(messages: list[dict[str, str]], budget_tokens: int) -> list[dict[str, str]]:
    roles = [m["role"] for m in messages]
    costs = [estimate_tokens(m["content"]) + TOKENS_A_MESSAGE for m in messages]
    return [messages[i] for i in fitting(roles, costs, budget_tokens)]


def fitting(roles: Sequence[str], costs: Sequence[int], budget_tokens: int) -> list[int]:
    """Which of these messages fit, by their places; raises PromptTooLong. As `build` says."""
    last = len(roles) - 1
    kept = {i for i, role in enumerate(roles) if role == "system"} | {last}
    left = budget_tokens - sum(costs[i] for i in kept)
    if left < 0:
        raise PromptTooLong
    for i in range(last - 1, -1, -1):
        if i in kept:
            continue
        if costs[i] > left:
            break
        left -= costs[i]
        kept.add(i)
    found = sorted(kept)
    # An answer whose question no longer fits says nothing, and some gateways refuse to begin with it.
    orphan = next((i for i in found if roles[i] != "system"), last)
    if roles[orphan] == "assistant" and orphan != last:
        found.remove(orphan)
    return found
