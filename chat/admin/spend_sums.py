"""What days add up to, in SQL: in all, day by day, and by whatever tells calls apart."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Any
from uuid import UUID

from django.db.models import F, Q, QuerySet, Sum
from django.utils.formats import number_format

from chat.models import DayTally, FirstToken, Rate
from chat.models.money import NANO

from .figures import SUMS, Total, exact, percent, sign, waited
from .spans import Span

SUMMED = (
    *("calls", "counted", "tokens", "priced", "cost_nano", "estimated", "unknown"),
    *("estimated_cost", "unknown_cost", "errors", "replies", "timed_ms", "timed_tokens"),
)
# Those that are told for each currency apart.
_OF_MONEY = ("priced", "cost_nano", "estimated_cost", "unknown_cost")
_SMALLEST = 1 / NANO


@dataclass
class Sums(Total):
    """A Total, with what else a day knows of its calls."""

    errors: int = 0
    replies: int = 0
    timed_ms: int = 0
    timed_tokens: int = 0
    key: tuple[Any, ...] = ()
    # How sure each currency's sum is: calls whose cost is unknown, and estimated.
    doubts: dict[str, tuple[int, int]] = field(default_factory=dict)

    def show_cost_in(self, currency: str) -> str | None:
        cost = self.costs.get(currency)
        return None if cost is None else sign(*self.doubts.get(currency, (0, 0))) + exact(cost)

    def show_errors(self) -> str | None:
        """Of all calls."""
        return percent(self.errors / self.calls) if self.calls else None

    def show_speed(self) -> str | None:
        """Tokens a second."""
        if not self.timed_ms:
            return None
        return str(number_format(self.timed_tokens * 1000 / self.timed_ms, 1))


def days(span: Span, only: Mapping[str, str]) -> QuerySet[DayTally]:
    return DayTally.objects.filter(span.condition, calls__gt=0, **only).order_by()


def in_all(rows: QuerySet[DayTally]) -> Sums:
    found = rows.values("currency").annotate(**{f"sum_{name}": Sum(name) for name in SUMMED})
    total = Sums()
    for row in found.order_by("-sum_priced", "currency"):
        _add(total, row["currency"], {name: row[f"sum_{name}"] for name in SUMMED})
    return total


def by(
    rows: QuerySet[DayTally], names: Sequence[str], currencies: Sequence[str], most: int | None
) -> list[Sums]:
    """A line for each value of these columns, the dearest first (by the first currency)."""
    sums = {f"sum_{name}": Sum(name) for name in SUMMED if name not in _OF_MONEY}
    for place, currency in enumerate(currencies):
        only = Q(currency=currency)
        sums |= {f"{name}_{place}": Sum(name, filter=only) for name in _OF_MONEY}
    dearest = [F("cost_nano_0").desc(nulls_last=True)] if currencies else []
    order = [*dearest, F("sum_tokens").desc(), F("sum_calls").desc(), *names]
    found = rows.values(*names).annotate(**sums).order_by(*order)
    return [_line(row, names, currencies) for row in found[:most]]


def by_day(rows: QuerySet[DayTally], currencies: Sequence[str]) -> list[Sums]:
    """Oldest first; a day without calls has no line."""
    return sorted(by(rows, ["day"], currencies, None), key=lambda line: line.key)


def by_user(rows: QuerySet[DayTally]) -> dict[UUID, Sums]:
    """By key; who has no row has used nothing."""
    found: dict[UUID, Sums] = {}
    sums = {f"sum_{name}": Sum(name) for name in SUMMED}
    for row in rows.order_by().values("user_key", "currency").annotate(**sums):
        line = found.setdefault(row["user_key"], Sums())
        _add(line, row["currency"], {name: row[f"sum_{name}"] for name in SUMMED})
    return found


def rest(total: Sums, shown: Sequence[Sums]) -> Sums:
    """What `shown` lines, which are a part of it, leave of a total."""
    left = Sums(key=())
    for name in ("calls", "errors", "estimated", "unknown", "estimated_cost", "unknown_cost"):
        setattr(left, name, getattr(total, name) - sum(getattr(line, name) for line in shown))
    tokens = (total.tokens or 0) - sum(line.tokens or 0 for line in shown)
    left.tokens = tokens or None
    for currency, cost in total.costs.items():
        left.costs[currency] = cost - sum(
            (line.costs.get(currency, Decimal()) for line in shown), Decimal()
        )
        doubts = [line.doubts.get(currency, (0, 0)) for line in shown]
        left.doubts[currency] = tuple(
            of_all - sum(each[place] for each in doubts)
            for place, of_all in enumerate(total.doubts[currency])
        )
    return left


def _line(row: Mapping[str, Any], names: Sequence[str], currencies: Sequence[str]) -> Sums:
    line = Sums(key=tuple(row[name] for name in names))
    shared = {name: row[f"sum_{name}"] for name in SUMMED if name not in _OF_MONEY}
    _add(line, "", shared | dict.fromkeys(_OF_MONEY, 0))
    for place, currency in enumerate(currencies):
        money = {name: row[f"{name}_{place}"] or 0 for name in _OF_MONEY}
        _add(line, currency, dict.fromkeys(SUMMED, 0) | money)
    return line


def _add(line: Sums, currency: str, sums: Mapping[str, Any]) -> None:
    """PostgreSQL adds BIGINTs up to a numeric; all are whole."""
    whole = {name: int(value) for name, value in sums.items()}
    tokens = whole["tokens"] if whole["counted"] else None
    told = {name: whole.get(name, 0) for name in SUMS}
    line.add(told | {"currency": currency, "tokens": tokens, "cost_nano_sum": whole["cost_nano"]})
    for name in ("errors", "replies", "timed_ms", "timed_tokens"):
        setattr(line, name, getattr(line, name) + whole[name])
    if whole["priced"] or whole["unknown_cost"]:
        line.doubts[currency] = whole["unknown_cost"], whole["estimated_cost"]


# --- how quick ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Speed:
    gateway: str
    model: str
    sums: Sums
    first_ms: Sequence[int | None]  # in which half, and 95 of a hundred replies had begun

    def show_first(self) -> list[str | None]:
        return [waited(ms) for ms in self.first_ms]


def speeds(span: Span, only: Mapping[str, str], most: int) -> list[Speed]:
    """Of each model of each gateway, those that were called most first."""
    lines = by(days(span, only), ["gateway_slug", "model"], [], most)
    waits = FirstToken.percentiles(span.first, span.last, (50, 95), **only)
    return [
        Speed(*line.key, line, waits.get(line.key, (None, None)))
        for line in sorted(lines, key=lambda line: -line.calls)
    ]


# --- in one currency ------------------------------------------------------------------------------


@dataclass(frozen=True)
class Converted:
    """A total in one currency at the rates of its days; `left_out` has no rate."""

    amount: Decimal
    currency: str
    left_out: dict[str, Decimal]


def converted(rows: QuerySet[DayTally]) -> Converted | None:
    """None where nobody has entered a rate, or all of it is in one currency that needs none."""
    into = Rate.target()
    if not into:
        return None
    priced = rows.filter(priced__gt=0)
    sums = priced.annotate(rate=Rate.of_day(into)).values("currency", "rate")
    amount, left_out, currencies = Decimal(), dict[str, Decimal](), set()
    for row in sums.annotate(sum=Sum("cost_nano")):
        cost, rate = Decimal(int(row["sum"])) / NANO, row["rate"]
        currencies.add(row["currency"])
        if row["currency"] == into:
            amount += cost
        elif rate is None:
            left_out[row["currency"]] = left_out.get(row["currency"], Decimal()) + cost
        else:
            amount += cost * rate
    if currencies <= {into}:
        return None
    return Converted(amount.quantize(_SMALLEST, ROUND_HALF_EVEN), into, left_out)
