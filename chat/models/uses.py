"""What an ended call used, as budgets count it: where its gateway said nothing, by an estimate."""

from typing import TYPE_CHECKING, NamedTuple

# Without Django and without I/O: text to a number.
from chat.replies.estimates import estimate_tokens

from .prices import Billable, Price, billable

if TYPE_CHECKING:
    from .calls import Call

# A call that ended so may have been read and billed, though nothing of an answer came.
_UNTOLD = ("timeout", "crash", "restart")


class Use(NamedTuple):
    tokens: int
    costs: dict[str, int]  # in 10^-9 of each currency in which it is known
    is_estimated: bool


def of_ended(call: "Call", prompt_tokens: int, currencies: set[str]) -> Use:
    """By its row, else by its reply's text and the prompt as it was estimated."""
    known = billable(
        call.prompt_tokens,
        call.completion_tokens,
        call.total_tokens,
        call.cached_tokens,
        call.reasoning_tokens,
    )
    costs = {} if call.cost_nano is None else {call.currency: call.cost_nano}
    is_estimated = known is None and call.total_tokens is None
    if is_estimated:
        # Of what failed before anything came, no usage was to be expected.
        if call.error_kind and call.first_delta_at is None and call.error_kind not in _UNTOLD:
            return Use(0, costs, False)
        known = Billable(prompt_tokens, 0, _answered(call))
    tokens = call.total_tokens
    if tokens is None:
        tokens = known.prompt + known.cached + known.completion if known else 0
    if known and call.gateway and currencies - set(costs):
        price = Price.expected(call.gateway, call.model, prompt_tokens)
        if price and (cost := price.cost_nano(known)) is not None:
            costs.setdefault(price.currency, cost)
    return Use(tokens, costs, is_estimated)


def _answered(call: "Call") -> int:
    """About how many tokens this call's answer has, by what is stored of it."""
    message, generation = call.message, call.generation
    if message is None or generation is None:
        return 0
    text = message.reasoning[generation.base_reasoning :] + message.text[generation.base_text :]
    return estimate_tokens(text)
