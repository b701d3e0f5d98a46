"""What days add up to, in SQL: in all, day by day and by person. Tables of them: `spend_tables`."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Any
from uuid import UUID

from django.db.models import QuerySet, Sum
from django.utils.formats import number_format

from chat.models import DayTally, FirstToken, Rate
from chat.models.money import NANO

from .figures import SUMS, Total, exact, percent, sign, waited
from .spans import Span

SUMMED = (
    *("calls", "counted", "tokens", "priced", "cost_nano", "estimated", "unknown"),
    *("estimated_cost", "unknown_cost", "errors", "replies", "timed_ms", "timed_tokens"),
)
_SMALLEST = 1 / NANO
# What tells apart how quickly replies come.
OF_SPEED = ("gateway_slug", "model")
Row = Mapping[str, Any]  # columns, and `sum_...` of each of SUMMED


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

    def add_sums(self, currency: str, sums: Mapping[str, Any]) -> None:
        """What the columns of SUMMED add up to in one currency."""
        # PostgreSQL adds BIGINTs up to a numeric; all are whole.
        whole = {name: int(value) for name, value in sums.items()}
        tokens = whole["tokens"] if whole["counted"] else None
        told = {name: whole.get(name, 0) for name in SUMS}
        self.add(
            told | {"currency": currency, "tokens": tokens, "cost_nano_sum": whole["cost_nano"]}
        )
        for name in ("errors", "replies", "timed_ms", "timed_tokens"):
            setattr(self, name, getattr(self, name) + whole[name])
        if whole["priced"] or whole["unknown_cost"]:
            self.doubts[currency] = whole["unknown_cost"], whole["estimated_cost"]

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
    return total(_by(rows, "currency"))


def total(rows: Iterable[Row]) -> Sums:
    """Of a row for each currency, or for each of a span's days and currency."""
    by_currency: dict[str, Counter[str]] = {}
    for row in rows:
        by_currency.setdefault(row["currency"], Counter()).update(_sums(row))
    found = Sums()
    for currency, sums in sorted(
        by_currency.items(), key=lambda each: (-each[1]["priced"], each[0])
    ):
        found.add_sums(currency, sums)
    return found


def by_day(rows: QuerySet[DayTally], into: str = "") -> list[Row]:
    """A row for each day and currency, oldest first.

    `into`: a currency; then with the `rate` of that day, None where none is told.
    """
    found = _by(rows, "day", "currency").order_by("day", "currency")
    return list(found.annotate(rate=Rate.of_day(into)) if into else found)


def lines(rows: Iterable[Row], name: str) -> dict[Any, Sums]:
    """A line for each value of this column, its currencies together."""
    found: dict[Any, Sums] = {}
    for row in rows:
        line = found.setdefault(row[name], Sums(key=(row[name],)))
        line.add_sums(row["currency"], _sums(row))
    return found


def by_user(rows: QuerySet[DayTally]) -> dict[UUID, Sums]:
    """By key; who has no row has used nothing."""
    return lines(_by(rows.order_by(), "user_key", "currency"), "user_key")


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


def _by(rows: QuerySet[DayTally], *names: str) -> QuerySet[Any]:
    return rows.values(*names).annotate(**{f"sum_{name}": Sum(name) for name in SUMMED})


def _sums(row: Row) -> dict[str, int]:
    return {name: row[f"sum_{name}"] for name in SUMMED}


# --- how quick ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Speed:
    gateway: str
    model: str
    sums: Sums
    first_ms: Sequence[int | None]  # in which half, and 95 of a hundred replies had begun

    def show_first(self) -> list[str | None]:
        return [waited(ms) for ms in self.first_ms]


def speeds(lines: Iterable[Sums], span: Span, only: Mapping[str, str]) -> list[Speed]:
    """Of each model of each gateway, those that were called most first.

    `lines`: what each adds up to, by gateway and model.
    """
    waits = FirstToken.percentiles(span.first, span.last, (50, 95), **only)
    return [Speed(*line.key, line, waits.get(line.key, (None, None))) for line in lines]


# --- in one currency ------------------------------------------------------------------------------


@dataclass(frozen=True)
class Converted:
    """A total in one currency at the rates of its days; `left_out` has no rate."""

    amount: Decimal
    currency: str
    left_out: dict[str, Decimal]


def converted(rows: Iterable[Row], into: str) -> Converted | None:
    """Of `by_day` with rates; None where nobody has entered one, or all is in `into` already."""
    priced = [row for row in rows if row["sum_priced"]]
    if not into or all(row["currency"] == into for row in priced):
        return None
    amount, left_out = Decimal(), dict[str, Decimal]()
    for row in priced:
        currency, rate = row["currency"], 1 if row["currency"] == into else row["rate"]
        cost = Decimal(int(row["sum_cost_nano"])) / NANO
        if rate is None:
            left_out[currency] = left_out.get(currency, Decimal()) + cost
        else:
            amount += cost * rate
    return Converted(amount.quantize(_SMALLEST, ROUND_HALF_EVEN), into, left_out)
