"""Tokens, money, moments as staff read them: to the last digit, unknown never taken for nothing."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any

from django.db.models import Count, Q, Sum
from django.utils.formats import date_format, number_format
from django.utils.timezone import localtime
from django.utils.translation import gettext as _

from chat.models import Price, Tally
from chat.models.calls import Confidence
from chat.models.money import NANO

# Of a call that failed before anything came, no usage was to be expected.
USED_SOMETHING = Q(error_kind="") | Q(first_delta_at__isnull=False)
# For `Call.objects.values("currency").annotate(**SUMS)`.
SUMS = {
    "calls": Count("pk"),
    "tokens": Sum("total_tokens"),
    "cost_nano_sum": Sum("cost_nano"),
    "priced": Count("cost_nano"),
    "estimated": Count("pk", filter=Q(confidence=Confidence.ESTIMATED)),
    "unknown": Count("pk", filter=USED_SOMETHING & Q(total_tokens=None)),
    "estimated_cost": Count("pk", filter=Q(cost_confidence=Confidence.ESTIMATED)),
    "unknown_cost": Count("pk", filter=USED_SOMETHING & Q(cost_nano=None)),
}


@dataclass
class Total:
    """Sums over calls; money by currency, never added across them."""

    calls: int = 0
    tokens: int | None = None
    costs: dict[str, Decimal] = field(default_factory=dict)
    estimated: int = 0
    unknown: int = 0
    estimated_cost: int = 0
    unknown_cost: int = 0

    def add(self, sums: Mapping[str, Any]) -> None:
        """One row of SUMS, of one currency."""
        for name in ("calls", "estimated", "unknown", "estimated_cost", "unknown_cost"):
            setattr(self, name, getattr(self, name) + sums[name])
        if sums["tokens"] is not None:
            self.tokens = (self.tokens or 0) + int(sums["tokens"])
        if sums["priced"]:
            # PostgreSQL adds BIGINTs up to a numeric; both are whole.
            cost = Decimal(int(sums["cost_nano_sum"])) / NANO
            self.costs[sums["currency"]] = self.costs.get(sums["currency"], Decimal()) + cost

    def add_tally(self, tally: Tally) -> None:
        sums = {name: getattr(tally, name) for name in ("calls", "priced", "currency")}
        sums |= {
            "tokens": tally.tokens if tally.counted else None,
            "cost_nano_sum": tally.cost_nano,
        }
        signs = ("estimated", "unknown", "estimated_cost", "unknown_cost")
        self.add(sums | {name: getattr(tally, name) for name in signs})

    def show_calls(self) -> str:
        return whole(self.calls)

    def show_tokens(self) -> str | None:
        """`≥` where some of it is unknown, else `≈` where some of it is estimated."""
        if self.tokens is None:
            return None
        return sign(self.unknown, self.estimated) + whole(self.tokens)

    def show_cost(self) -> str | None:
        shown = [money(cost, currency) for currency, cost in sorted(self.costs.items())]
        return sign(self.unknown_cost, self.estimated_cost) + " + ".join(shown) if shown else None


def total(rows: Iterable[Mapping[str, Any]]) -> Total:
    found = Total()
    for row in rows:
        found.add(row)
    return found


def sign(unknown: int, estimated: int) -> str:
    """Before a sum of which so many parts are unknown, and so many estimated."""
    return "≥ " if unknown else "≈ " if estimated else ""


def whole(number: int) -> str:
    return str(number_format(number, force_grouping=True))


def percent(part: float | None) -> str | None:
    if part is None:
        return None
    return _("%(n)s %%") % {"n": number_format(part * 100, 1)}


def waited(ms: int | None) -> str | None:
    """Seconds, to the two digits that are known."""
    if ms is None:
        return None
    digits = 2 if ms < 1_000 else 1 if ms < 10_000 else 0
    return _("%(seconds)s s") % {"seconds": number_format(ms / 1000, digits)}


def moment(when: datetime) -> str:
    return str(date_format(localtime(when), "SHORT_DATETIME_FORMAT"))


def exact(amount: Decimal) -> str:
    """All its digits, with no idle zeros."""
    digits = f"{amount:f}"
    digits = digits.rstrip("0").rstrip(".") if "." in digits else digits
    return str(number_format(digits, force_grouping=True))


def money(amount: Decimal | None, currency: str) -> str | None:
    """An exact amount and the currency's code."""
    if amount is None:
        return None
    return _("%(amount)s %(currency)s") % {"amount": exact(amount), "currency": currency}


def per_million(price: Price) -> str:
    """What a price says, in a line."""
    sides = [
        (_("in %(price)s"), price.prompt),
        (_("cached %(price)s"), price.cached),
        (_("out %(price)s"), price.completion),
    ]
    told = [words % {"price": exact(side)} for words, side in sides if side is not None]
    return _("%(prices)s %(currency)s a million tokens (%(source)s)") % {
        "prices": " · ".join(told),
        "currency": price.currency,
        "source": price.get_source_display(),
    }
