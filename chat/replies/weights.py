"""What a call may use at most, as budgets hold it: the prompt as it is estimated, the longest reply."""

from collections.abc import Mapping, Sequence
from typing import Any

from chat.models import Gateway, Generation, LanguageModel, Price
from chat.models.allowances import LEAST_REPLY_TOKENS
from chat.models.budgets import Weight
from chat.models.language_models import first_listed

from . import branch, prompt
from .estimates import TOKENS_A_MESSAGE, estimate_tokens

# Of a reply whose length nothing bounds; with a hard budget no request asks for more.
LONGEST_REPLY_TOKENS = 16_384


def of_generation(generation: Generation) -> Weight | None:
    """Of the call that it begins with; None where it will fail before one is made."""
    place = place_of(generation)
    if place is None:
        return None
    gateway, model = place
    parameters = generation.conversation.parameters
    context = context_tokens(gateway, model)
    budget = prompt.budget_tokens(context, parameters.get("max_tokens"))
    try:
        messages = prompt.build(branch.turns(generation), budget)
    except prompt.PromptTooLong:
        return None
    return _weight(gateway, model, prompt_tokens(messages), parameters, context)


def place_of(generation: Generation) -> tuple[Gateway, str] | None:
    """Gateway and model that are asked first; the model '' where the gateway hasn't listed any yet."""
    message = generation.message
    if message.gateway is None:
        return None
    return message.gateway, message.model or first_listed(message.gateway, generation.user)


def of_call(
    gateway: Gateway,
    model: str,
    messages: Sequence[Mapping[str, str]],
    parameters: Mapping[str, Any],
) -> Weight:
    """Of a request with these messages."""
    context = context_tokens(gateway, model)
    return _weight(gateway, model, prompt_tokens(messages), parameters, context)


def of_forecast(gateway: Gateway, model: str, tokens: int, parameters: Mapping[str, Any]) -> Weight:
    """Of one whose prompt was estimated already."""
    return _weight(gateway, model, tokens, parameters, context_tokens(gateway, model))


def context_tokens(gateway: Gateway, model: str) -> int | None:
    rows = LanguageModel.objects.filter(gateway=gateway, name=model)
    return rows.values_list("context_tokens", flat=True).first()


def prompt_tokens(messages: Sequence[Mapping[str, str]]) -> int:
    return sum(estimate_tokens(m["content"]) + TOKENS_A_MESSAGE for m in messages)


def _weight(
    gateway: Gateway, model: str, tokens: int, parameters: Mapping[str, Any], context: int | None
) -> Weight:
    asked: int | None = parameters.get("max_tokens")
    longest = LONGEST_REPLY_TOKENS if asked is None else asked
    room = None if context is None else max(LEAST_REPLY_TOKENS, context - tokens)
    is_bounded = asked is not None or (room is not None and room <= longest)
    reply = longest if room is None else min(longest, room)
    return Weight(tokens, reply, Price.expected(gateway, model, tokens), is_bounded)
