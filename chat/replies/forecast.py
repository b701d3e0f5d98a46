"""Before a question is sent: about what it will cost, and what of the conversation still fits."""

from dataclasses import dataclass
from decimal import Decimal
from statistics import mean

from django.db.models import QuerySet
from django.db.models.functions import Length

from chat.models import Call, Conversation, Price, User
from chat.models.language_models import Destination, first_listed
from chat.models.money import NANO
from chat.models.parameters import Asked
from chat.models.prices import Billable

from . import prompt
from .estimates import TOKENS_A_MESSAGE, estimate_tokens
from .weights import context_tokens

REPLY_TOKENS = 500  # where no earlier reply says more
REPLIES_LOOKED_AT = 10
NEAR_LIMIT = 0.7
MAX_REMEMBERED = 200_000
# Tokens of messages, by key and length: what was counted once isn't read again.
_counted: dict[tuple[int, int], int] = {}


@dataclass(frozen=True)
class Forecast:
    """Estimates all; None is unknown. `left_out` messages at the beginning no longer fit."""

    prompt_tokens: int
    reply_tokens: int
    cost: Decimal | None
    currency: str
    context_tokens: int | None
    share: float
    left_out: int
    is_too_long: bool

    @property
    def is_near_limit(self) -> bool:
        return self.share >= NEAR_LIMIT or self.left_out > 0 or self.is_too_long

    @property
    def percent(self) -> int:
        return min(100, round(self.share * 100))


def forecast(
    user: User,
    place: Destination,
    text: str,
    conversation: Conversation | None = None,
    asked: Asked | None = None,
) -> Forecast:
    """For this text as the next question of a conversation, or as the first of a new one."""
    if asked is None:
        asked = conversation.asked if conversation else user.asked
    gateway, model = place.gateway, place.model or first_listed(place.gateway, user)
    turns = _turns(conversation, asked.system_prompt, text)
    context = context_tokens(gateway, model)
    budget = prompt.budget_tokens(context, asked.parameters.get("max_tokens"))
    whole = sum(tokens for _, tokens, _ in turns)
    kept, is_too_long = _kept(turns, budget)
    tokens_in = sum(turns[i][1] for i in kept)
    tokens_out = _reply_tokens(user, model, conversation, asked)
    price = Price.expected(gateway, model, tokens_in)
    cost = price.cost_nano(Billable(tokens_in, 0, tokens_out)) if price else None
    return Forecast(
        prompt_tokens=tokens_in,
        reply_tokens=tokens_out,
        cost=None if cost is None else Decimal(cost) / NANO,
        currency=price.currency if price else "",
        context_tokens=context,
        share=whole / budget if budget else 0.0,
        left_out=sum(count for i, (_, _, count) in enumerate(turns) if i not in kept),
        is_too_long=is_too_long,
    )


def _turns(
    conversation: Conversation | None, system_prompt: str, text: str
) -> list[tuple[str, int, int]]:
    """(role, tokens, messages in it) as `prompt.build` joins them, the text as the last."""
    said = [("system", estimate_tokens(system_prompt)), *_said(conversation)]
    said.append(("user", estimate_tokens(text)))
    turns: list[tuple[str, int, int]] = []
    for role, tokens in said:
        if not tokens:
            continue
        if turns and turns[-1][0] == role:
            _, before, count = turns.pop()
            turns.append((role, before + tokens, count + 1))
        else:
            turns.append((role, tokens + TOKENS_A_MESSAGE, 1))
    return turns


def _said(conversation: Conversation | None) -> list[tuple[str, int]]:
    """(role, tokens) of each message of the current branch."""
    if conversation is None:
        return []
    rows = list(conversation.branch().values_list("pk", "role", Length("text")))
    new = [pk for pk, _, chars in rows if (pk, chars) not in _counted]
    if len(_counted) > MAX_REMEMBERED:
        _counted.clear()
        new = [pk for pk, _, _ in rows]
    for pk, text in conversation.branch().filter(pk__in=new).values_list("pk", "text"):
        _counted[pk, len(text)] = estimate_tokens(text)
    return [(role, _counted.get((pk, chars), 0)) for pk, role, chars in rows]


def _kept(turns: list[tuple[str, int, int]], budget: int | None) -> tuple[set[int], bool]:
    """Which turns would be sent, and whether even the last doesn't fit."""
    if budget is None or not turns:
        return set(range(len(turns))), False
    try:
        roles, costs, _ = zip(*turns, strict=True)
        return set(prompt.fitting(roles, costs, budget)), False
    except prompt.PromptTooLong:
        return set(range(len(turns))), True


def _reply_tokens(user: User, model: str, conversation: Conversation | None, asked: Asked) -> int:
    """As long as the conversation's replies were lately, else as this person's from the model were."""
    replies = Call.objects.filter(purpose=Call.Purpose.REPLY, completion_tokens__isnull=False)
    here = replies.filter(message__conversation=conversation) if conversation else replies.none()
    others = replies.filter(user=user, model=model)
    found = _newest(here) or _newest(others) or [REPLY_TOKENS]
    limit: int | None = asked.parameters.get("max_tokens")
    tokens = round(mean(found))
    return tokens if limit is None else min(tokens, limit)


def _newest(calls: "QuerySet[Call]") -> list[int]:
    newest = calls.order_by("-id").values_list("completion_tokens", flat=True)
    return list(newest[:REPLIES_LOOKED_AT])
