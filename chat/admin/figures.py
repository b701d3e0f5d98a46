"""Tokens and money as staff read them: exact to the last digit, unknown never taken for nothing."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from django.db.models import Count, Q, Sum
from django.utils.formats import number_format
from django.utils.translation import gettext as _

from chat.models.generations import NANO, Confidence

# For `Call.objects.values("currency").annotate(**SUMS)`. A call that failed without usage says nothing.
SUMS = {
    "calls": Count("pk"),
    "tokens": Sum("total_tokens"),
    "cost_nano_sum": Sum("cost_nano"),
    "priced": Count("cost_nano"),
    "estimated": Count("pk", filter=Q(confidence=Confidence.ESTIMATED)),
    "unknown": Count("pk", filter=Q(total_tokens=None, error_kind="")),
}


@dataclass
class Total:
    """Sums over calls; money by currency, never added across them."""

    calls: int = 0
    tokens: int | None = None
    costs: dict[str, Decimal] = field(default_factory=dict)
    estimated: int = 0
    unknown: int = 0

    def add(self, sums: Mapping[str, Any]) -> None:
        """One row of SUMS, of one currency."""
        self.calls += sums["calls"]
        self.estimated += sums["estimated"]
        self.unknown += sums["unknown"]
        if sums["tokens"] is not None:
            self.tokens = (self.tokens or 0) + int(sums["tokens"])
        if sums["priced"]:
            # PostgreSQL adds BIGINTs up to a numeric; both are whole.
            cost = Decimal(int(sums["cost_nano_sum"])) / NANO
            self.costs[sums["currency"]] = self.costs.get(sums["currency"], Decimal()) + cost

    def show_calls(self) -> str:
        return whole(self.calls)

    def show_tokens(self) -> str | None:
        """`≈` where some of it is estimated, `≥` where some of it is unknown."""
        if self.tokens is None:
            return None
        sign = ("≥ " if self.unknown else "") + ("≈ " if self.estimated else "")
        return sign + whole(self.tokens)

    def show_cost(self) -> str | None:
        shown = [money(cost, currency) for currency, cost in sorted(self.costs.items())]
        return " + ".join(shown) or None


def total(rows: Iterable[Mapping[str, Any]]) -> Total:
    found = Total()
    for row in rows:
        found.add(row)
    return found


def whole(number: int) -> str:
    return str(number_format(number, force_grouping=True))


def money(amount: Decimal | None, currency: str) -> str | None:
    """All its digits, with no idle zeros, and the currency's code."""
    if amount is None:
        return None
    digits = f"{amount:f}"
    digits = digits.rstrip("0").rstrip(".") if "." in digits else digits
    return _("%(amount)s %(currency)s") % {
        "amount": number_format(digits, force_grouping=True),
        "currency": currency,
    }
