"""The days that a page adds up: today, the last 7 or 30, or from a day to a day."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

from django.db.models import Q

from chat.models.rates import today

from .filters import day_of_address

LAST_DAYS = (1, 7, 30)
MAX_DAYS = 366


@dataclass(frozen=True)
class Span:
    """Both days are in it, each as the installation's time zone has it."""

    first: date
    last: date

    @classmethod
    def lasting(cls, days: int) -> "Span":
        """So many days that end today."""
        return cls(today() - timedelta(days=days - 1), today())

    @classmethod
    def asked(cls, query: Mapping[str, Any]) -> "Span":
        """As an address names it: `days`, or `from` and `to`; what is no such span is 30 days."""
        first, last = (day_of_address([query.get(name, "")]) for name in ("from", "to"))
        if first or last:
            last = last or today()
            first = first or last
            return cls(max(first, last - timedelta(days=MAX_DAYS - 1)), last)
        days = query.get("days", "")
        return cls.lasting(int(days) if days in map(str, LAST_DAYS) else 30)

    @property
    def days(self) -> int:
        return max(0, (self.last - self.first).days + 1)

    def __contains__(self, day: date) -> bool:
        return self.first <= day <= self.last

    @property
    def before(self) -> "Span":
        """As many days, right before it."""
        end = self.first - timedelta(days=1)
        return Span(end - timedelta(days=self.days - 1), end)

    @property
    def condition(self) -> Q:
        """For rows with a `day`."""
        return Q(day__gte=self.first, day__lte=self.last)

    @property
    def query(self) -> dict[str, str]:
        """What names it in an address; one that ends today goes on ending today."""
        if self.last == today() and self.days in LAST_DAYS:
            return {"days": str(self.days)}
        return {"from": self.first.isoformat(), "to": self.last.isoformat()}
