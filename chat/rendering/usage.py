"""What a reply used: its calls added up, with unknown kept apart from nothing."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal

from django.db import connection

from chat.models import Call, Conversation
from chat.models.calls import Confidence
from chat.models.money import NANO

TOKENS = (
    "prompt_tokens",
    "completion_tokens",
    "total_tokens",
    "cached_tokens",
    "reasoning_tokens",
)


@dataclass(frozen=True)
class Usage:
    """Sums over calls; None is unknown. Costs of two currencies are never added: then it is None."""

    prompt_tokens: int | None
    completion_tokens: int | None
    total_tokens: int | None
    cached_tokens: int | None
    reasoning_tokens: int | None
    confidence: str
    cost: Decimal | None
    currency: str | None
    cost_confidence: str


@dataclass(frozen=True)
class Total:
    """What a conversation has used, on all its branches, deleted messages and its title included.

    `costs` by currency, which are never added together. Something is left out of a sum where it is
    not known (`≥`), or is a guess (`≈`).
    """

    prompt_tokens: int
    completion_tokens: int
    tokens: int
    costs: list[tuple[Decimal, str]]
    tokens_sign: str
    cost_sign: str


# What a call that used something may have left unsaid.
_USED = "(error_kind = '' OR first_delta_at IS NOT NULL) AND ended_at IS NOT NULL"
_SUMS = {
    "prompt": "SUM(prompt_tokens)",
    "completion": "SUM(completion_tokens)",
    "total": "SUM(total_tokens)",
    "nano": "SUM(cost_nano)",
    "unknown": f"COUNT(*) FILTER (WHERE {_USED} AND total_tokens IS NULL)",
    "estimated": "COUNT(*) FILTER (WHERE confidence = 'estimated')",
    "unpriced": f"COUNT(*) FILTER (WHERE {_USED} AND cost_nano IS NULL)",
    "cost_estimated": "COUNT(*) FILTER (WHERE cost_confidence = 'estimated')",
}
# Those of its replies and those that wrote its title, each found by its own index. Written, as each
# page and each reply's end asks it: made of expressions it took 2 to 3 ms instead of 0.2.
_COLUMNS = """
    currency, prompt_tokens, completion_tokens, total_tokens, cost_nano, confidence, cost_confidence,
    error_kind, first_delta_at, ended_at
"""
_OF_CONVERSATION = f"""
    SELECT currency, {", ".join(_SUMS.values())} FROM (
        SELECT {_COLUMNS} FROM chat_call
        WHERE message_id IN (SELECT id FROM chat_message WHERE conversation_id = %s)
        UNION ALL
        SELECT {_COLUMNS} FROM chat_call WHERE conversation_id = %s
    ) calls GROUP BY currency
"""  # noqa: S608


def of_conversation(conversation: Conversation) -> Total | None:
    """In one query; None where nothing is known to have been used."""
    with connection.cursor() as cursor:
        cursor.execute(_OF_CONVERSATION, [conversation.pk] * 2)
        rows = [dict(zip(("currency", *_SUMS), row, strict=True)) for row in cursor.fetchall()]

    def added(name: str) -> int:
        return sum(int(row[name] or 0) for row in rows)

    nano: Counter[str] = Counter()
    for row in rows:
        nano[row["currency"]] += int(row["nano"] or 0)
    costs = [(Decimal(sum_) / NANO, currency) for currency, sum_ in sorted(nano.items()) if sum_]
    if not (added("total") or costs):
        return None
    return Total(
        added("prompt"),
        added("completion"),
        added("total"),
        costs,
        _sign(added("unknown"), added("estimated")),
        _sign(added("unpriced"), added("cost_estimated")),
    )


def _sign(unknown: int, estimated: int) -> str:
    return "≥\N{NO-BREAK SPACE}" if unknown else "≈\N{NO-BREAK SPACE}" if estimated else ""


def of_calls(calls: Iterable[Call]) -> Usage | None:
    """None where no call was made."""
    calls = list(calls)
    if not calls:
        return None
    sums = {name: _sum(getattr(call, name) for call in calls) for name in TOKENS}
    costs = [call for call in calls if call.cost_nano is not None]
    currencies = {call.currency for call in costs}
    is_summable = len(currencies) == 1
    cost = Decimal(sum(call.cost_nano or 0 for call in costs)) / NANO if is_summable else None
    return Usage(
        **sums,
        confidence=_least([call.confidence for call in calls if _tried(call)]),
        cost=cost,
        currency=currencies.pop() if is_summable else None,
        cost_confidence=_least([c.cost_confidence for c in costs]) if is_summable else "unknown",
    )


def _tried(call: Call) -> bool:
    """Whether it may have used tokens: a call that was refused or never connected says nothing."""
    return call.total_tokens is not None or not call.error_kind


def _sum(values: Iterable[int | None]) -> int | None:
    known = [value for value in values if value is not None]
    return sum(known) if known else None


def _least(confidences: list[str]) -> str:
    """The weakest of several confidences."""
    for value in (Confidence.UNKNOWN, Confidence.ESTIMATED, Confidence.EXACT):
        if value in confidences:
            return value.value
    return Confidence.UNKNOWN.value
