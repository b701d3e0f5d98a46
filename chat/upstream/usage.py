"""What a gateway says that a call took: tokens and cost, whatever the names. No I/O."""

from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from math import isfinite
from typing import Any, Literal

import msgspec

from chat.rendering.clean import clean

Currency = Literal["RUB", "USD"]

_MOST = 10**9
_RAW_CHARS, _RAW_MEMBERS, _RAW_DEPTH = 500, 64, 4
_USD_TICK = Decimal("1e-10")


class Usage(msgspec.Struct, frozen=True):
    """One report, each figure None where it is missing or absurd; `raw` is the report as it came.

    Reports are cumulative: the last one is the call's, they are never summed.
    currency: of `cost`; None is the gateway's own.
    """

    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    total_tokens: int | None = None
    cached_tokens: int | None = None
    reasoning_tokens: int | None = None
    cost: Decimal | None = None
    currency: Currency | None = None
    raw: dict[str, Any] = {}


def from_report(report: object) -> Usage | None:
    """The usage in a chunk's `usage`; None where it says nothing (absent, or all null)."""
    if not isinstance(report, dict):
        return None
    cost, currency = _cost(report)
    usage = Usage(
        prompt_tokens=tokens(report.get("prompt_tokens")),
        completion_tokens=tokens(report.get("completion_tokens")),
        total_tokens=tokens(report.get("total_tokens")),
        cached_tokens=_first(
            _inner(report, "prompt_tokens_details", "cached_tokens"),
            report.get("prompt_cache_hit_tokens"),
            report.get("num_cached_tokens"),
            report.get("precached_prompt_tokens"),
        ),
        reasoning_tokens=_first(
            _inner(report, "completion_tokens_details", "reasoning_tokens"),
            report.get("reasoning_tokens"),
        ),
        cost=cost,
        currency=currency,
        raw=_storable(report),
    )
    says_something = any(
        report.get(name) is not None
        for name in ("prompt_tokens", "completion_tokens", "total_tokens")
    )
    return usage if says_something or cost is not None else None


def from_generation(document: object) -> Usage | None:
    """OpenRouter's record of an ended call; the native tokens are those that were billed."""
    record = document.get("data") if isinstance(document, dict) else None
    if not isinstance(record, dict):
        return None
    usage = Usage(
        prompt_tokens=tokens(record.get("native_tokens_prompt")),
        completion_tokens=tokens(record.get("native_tokens_completion")),
        cached_tokens=tokens(record.get("native_tokens_cached")),
        reasoning_tokens=tokens(record.get("native_tokens_reasoning")),
        cost=money(record.get("total_cost")),
        currency="USD",
        raw=_storable(record),
    )
    if usage.prompt_tokens is None or usage.completion_tokens is None:
        return None
    return msgspec.structs.replace(
        usage, total_tokens=usage.prompt_tokens + usage.completion_tokens
    )


def tokens(value: object) -> int | None:
    """A count of tokens, None if it can't be one: negative, a fraction, a bool, above 10^9."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= _MOST:
        return value
    return None


def money(value: object) -> Decimal | None:
    """An amount from a number or a numeric string, None if it can't be one."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        # str() of a float is the shortest text that reads back as it: what the gateway wrote.
        amount = Decimal(str(value)[:64])
    except InvalidOperation:
        return None
    return amount if amount.is_finite() and 0 <= amount <= _MOST else None


def _storable(value: Any, depth: int = 0) -> Any:
    """The JSON value as every database takes it: no NUL, no lone surrogate, no NaN, bounded."""
    if isinstance(value, str):
        return clean(value[:_RAW_CHARS])
    if isinstance(value, float):
        return value if isfinite(value) else None
    if isinstance(value, dict):
        members = list(value.items())[:_RAW_MEMBERS] if depth < _RAW_DEPTH else []
        return {clean(key[:_RAW_CHARS]): _storable(inner, depth + 1) for key, inner in members}
    if isinstance(value, list):
        entries = value[:_RAW_MEMBERS] if depth < _RAW_DEPTH else []
        return [_storable(inner, depth + 1) for inner in entries]
    return value if value is None or abs(value) < 10**30 else None


def _cost(report: Mapping[str, Any]) -> tuple[Decimal | None, Currency | None]:
    if (roubles := money(report.get("cost_rub"))) is not None:
        return roubles, "RUB"
    ticks = report.get("cost_in_usd_ticks")
    if isinstance(ticks, str) and ticks.isdecimal() and len(ticks) < 20:
        ticks = int(ticks)
    if isinstance(ticks, int) and not isinstance(ticks, bool) and 0 <= ticks <= 10**19:
        return ticks * _USD_TICK, "USD"
    cost = report.get("cost")
    if isinstance(cost, dict):
        cost = cost.get("total_cost")
    return money(cost), None


def _inner(report: Mapping[str, Any], group: str, name: str) -> object:
    details = report.get(group)
    return details.get(name) if isinstance(details, dict) else None


def _first(*values: object) -> int | None:
    """The first that is there; an absurd one is not made good by the next."""
    return next((tokens(value) for value in values if value is not None), None)
