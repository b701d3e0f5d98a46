"""Filters that the stock admin lacks: a span of days, a word that is typed in, a range of money."""

from datetime import date, datetime, time, timedelta
from decimal import Decimal, InvalidOperation
from typing import Any
from urllib.parse import parse_qsl

from django.contrib import admin
from django.contrib.admin.views.main import PAGE_VAR
from django.db.models import Model, QuerySet
from django.http import HttpRequest
from django.utils import timezone
from django.utils.dateparse import parse_date
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from chat.models import rates
from chat.models.money import nano

YEARS = range(1970, 3000)


class DaysFilter(admin.FieldListFilter):
    """From a day to a day, both included, in the installation's time zone; either may be left out."""

    template = "admin/days_filter.html"

    def __init__(
        self,
        field: Any,
        request: HttpRequest,
        params: dict[str, list[str]],
        model: type[Model],
        model_admin: Any,
        field_path: str,
    ) -> None:
        self.names = [f"{field_path}_from", f"{field_path}_to"]
        super().__init__(field, request, params, model, model_admin, field_path)
        self.first, self.last = (
            day_of_address(self.used_parameters.get(name)) for name in self.names
        )

    def expected_parameters(self) -> list[str]:
        return self.names

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        if self.first:
            queryset = queryset.filter(**{f"{self.field_path}__gte": _midnight(self.first)})
        if self.last:
            end = _midnight(self.last + timedelta(days=1))
            queryset = queryset.filter(**{f"{self.field_path}__lt": end})
        return queryset

    def of_days(self, rows: QuerySet[Any]) -> QuerySet[Any]:
        """The rows of these days."""
        if self.first:
            rows = rows.filter(day__gte=self.first)
        return rows.filter(day__lte=self.last) if self.last else rows

    def choices(self, changelist: Any) -> list[dict[str, Any]]:
        self.kept = _kept(changelist, self.names)
        today = rates.today()
        spans = [
            (_("Any date"), None),
            (_("Today"), today),
            (_("Last 7 days"), today - timedelta(days=6)),
            (_("Last 30 days"), today - timedelta(days=29)),
        ]
        return [
            {
                "selected": self.first == first and self.last is None,
                "query_string": changelist.get_query_string(
                    {self.names[0]: first} if first else {}, self.names
                ),
                "display": label,
            }
            for label, first in spans
        ]


class WordFilter(admin.SimpleListFilter):
    """A value that is typed, because there are too many to list."""

    template = "admin/word_filter.html"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return []

    def has_output(self) -> bool:
        return True

    def value(self) -> str:
        return (super().value() or "").strip()

    def choices(self, changelist: Any) -> list[dict[str, Any]]:
        self.kept = _kept(changelist, [self.parameter_name])
        return []


class OnlyFilter(admin.SimpleListFilter):
    """One value that a link from elsewhere names; shown only then, to be taken away again."""

    field = ""
    is_name = True  # and not a word, which would begin with a capital letter

    def name_of(self, request: HttpRequest, value: str) -> str:
        return value

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        value = self.value()
        return [] if value is None else [(value, self.name_of(request, value))]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        value = self.value()
        return queryset if value is None else queryset.filter(**{self.field: value})


class CostFilter(admin.ListFilter):
    """From an amount to an amount of one currency, both included; either may be left out."""

    title = gettext_lazy("cost")
    template = "admin/cost_filter.html"
    names = ("cost_from", "cost_to", "currency")

    def __init__(self, request: HttpRequest, params: dict[str, Any], *args: Any) -> None:
        super().__init__(request, params, *args)
        found = {name: (params.pop(name, None) or [""])[-1].strip() for name in self.names}
        self.typed = {name: found[name] for name in self.names[:2]}
        self.currency = found["currency"].upper()
        # As lookups of a column of 10^-9: {"gte": ..., "lte": ...}
        amounts = zip(("gte", "lte"), map(_nano, self.typed.values()), strict=True)
        self.bounds = {side: amount for side, amount in amounts if amount is not None}
        if not self.currency:
            self.bounds = {}

    def of(self, field: str) -> dict[str, int]:
        return {f"{field}__{side}": amount for side, amount in self.bounds.items()}

    def currencies(self) -> list[str]:
        raise NotImplementedError

    def has_output(self) -> bool:
        self.offered = [code for code in self.currencies() if code]
        return bool(self.offered)

    def expected_parameters(self) -> list[str]:
        return list(self.names)

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        raise NotImplementedError

    def choices(self, changelist: Any) -> list[dict[str, Any]]:
        self.kept = _kept(changelist, list(self.names))
        return []


def _nano(text: str) -> int | None:
    try:
        return nano(Decimal(text.replace(",", "."))) if text else None
    except InvalidOperation:
        return None


def _kept(changelist: Any, own: list[str]) -> list[tuple[str, str]]:
    """What else narrows the list, for a filter's form to carry on."""
    return parse_qsl(changelist.get_query_string(remove=[*own, PAGE_VAR])[1:])


def day_of_address(values: list[str] | None) -> date | None:
    """The day that an address names; none for what isn't one."""
    try:
        day = parse_date(values[-1]) if values else None
    except ValueError:
        return None
    return day if day and day.year in YEARS else None


def _midnight(day: date) -> datetime:
    # The reader's own time zone is how moments are shown to them; days are the same for all staff.
    return timezone.make_aware(datetime.combine(day, time.min), timezone.get_default_timezone())
