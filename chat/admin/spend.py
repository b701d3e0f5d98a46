"""Spending: what a span of days has cost, by whom and for what, how well and how quickly it went."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from functools import cached_property
from typing import Any
from uuid import UUID

from django.conf import settings
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils.formats import date_format
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from chat.models import Call, Rate

from . import spend_sums, spend_tables
from .charts import Chart, chart, share
from .figures import exact, money, whole
from .names import name_of_group, names_of_users
from .spans import LAST_DAYS, Span
from .spend_sums import Converted, Speed, Sums
from .spend_tables import By
from .spend_view import COLUMNS, NAMES, View

MOST_LINES = 20
SHORT_SPAN = 14
MOST_BARS = 92  # of a chart on a phone, each wide enough to be told from the next
TITLES = {
    "user": gettext_lazy("By user"),
    "group": gettext_lazy("By group"),
    "gateway": gettext_lazy("By gateway"),
    "model": gettext_lazy("By model"),
    "purpose": gettext_lazy("By purpose"),
}
NAMES_OF_SPANS = {
    1: gettext_lazy("Today"),
    7: gettext_lazy("7 days"),
    30: gettext_lazy("30 days"),
}
BEFORE = {
    1: gettext_lazy("yesterday: %(cost)s"),
    7: gettext_lazy("the 7 days before: %(cost)s"),
    30: gettext_lazy("the 30 days before: %(cost)s"),
}


def spend(request: HttpRequest, context: Mapping[str, Any]) -> HttpResponse:
    if not request.user.has_perm("chat.see_sums"):
        raise PermissionDenied
    if request.method not in ("GET", "HEAD"):
        raise PermissionDenied
    page = Page(request)
    told = {**context, "title": _("Spending"), "page": page, "zone": settings.TIME_ZONE}
    return TemplateResponse(request, "admin/spend.html", told)


@dataclass(frozen=True)
class Card:
    """One of the spans that end today: a number, and what it was before."""

    name: str
    href: str
    is_here: bool
    sums: Sums
    before: str


@dataclass(frozen=True)
class Line:
    name: str
    sums: Sums
    costs: list[str | None]  # in the order of the page's currencies
    share: float = 0.0
    href: str = ""  # this page, narrowed to it
    calls: str = ""  # the calls behind it
    conversations: str = ""


@dataclass(frozen=True)
class Table:
    title: str
    what: str
    lines: Sequence[Line]


class Page:
    """Each part is asked for where the template shows it."""

    def __init__(self, request: HttpRequest) -> None:
        self.request = request
        self.view = view = View.asked(request)
        self.span, self.narrowed, self.only = view.span, view.narrowed, view.only

    @cached_property
    def total(self) -> Sums:
        return spend_sums.total(self._rows)

    @cached_property
    def currencies(self) -> list[str]:
        """The most used one first."""
        return list(self.total.costs)

    @cached_property
    def totals(self) -> list[Line]:
        return [self._line(_("In all"), self.total, calls=self.view.calls())]

    @cached_property
    def converted(self) -> Converted | None:
        return spend_sums.converted(self._rows, self._into)

    def converted_amount(self) -> str:
        assert self.converted
        return exact(round(self.converted.amount, 2))

    def left_out(self) -> str:
        assert self.converted
        left_out = sorted(self.converted.left_out.items())
        return " + ".join(money(cost, code) or "" for code, cost in left_out)

    # --- the spans ------------------------------------------------------------------------------

    def cards(self) -> Iterable[Card]:
        longest = Span.lasting(max(LAST_DAYS))
        both = Span(longest.before.first, longest.last)
        rows = spend_sums.by_day(spend_sums.days(both, self.only))
        for days in LAST_DAYS:
            span = Span.lasting(days)
            of_span, of_before = (
                spend_sums.total(row for row in rows if row["day"] in each)
                for each in (span, span.before)
            )
            cost = of_before.show_cost()
            yield Card(
                name=str(NAMES_OF_SPANS[days]),
                href=self.view.at(span).here(),
                is_here=span == self.span,
                sums=of_span,
                before=BEFORE[days] % {"cost": cost} if cost else "",
            )

    @property
    def kept(self) -> list[tuple[str, str]]:
        """What else narrows the page, for the form with the days to carry on."""
        return list(self.narrowed.items())

    @cached_property
    def narrowings(self) -> list[tuple[str, str, str]]:
        """(what, its name, the page without it) of each that narrows the page."""
        found = []
        for name, value in self.narrowed.items():
            label = self._names(name, [value])[value][0]
            found.append((str(NAMES[name]), label, self.view.without(name).here()))
        return found

    # --- by day -----------------------------------------------------------------------------------

    @cached_property
    def by_day(self) -> list[Line]:
        """Newest first; by week where the charts are."""
        found = []
        for days, sums in reversed(self._used):
            view = self.view.at(Span(days[0], days[-1]))
            name = self._name_of(days)
            found.append(self._line(name, sums, href=view.here(), calls=view.calls()))
        return found

    @property
    def is_long(self) -> bool:
        return len(self._used) > SHORT_SPAN

    @property
    def is_by_week(self) -> bool:
        return len(self._bars) < self.span.days

    def charts(self) -> list[Chart]:
        """One for each currency, and one of the tokens; of a single day its number says it all."""
        if self.span.days < 2:
            return []
        cost = _("Cost a week, %(currency)s") if self.is_by_week else _("Cost a day, %(currency)s")
        found = [
            self._chart(
                cost % {"currency": code},
                lambda sums, code=code: sums.costs.get(code),
                lambda amount, code=code: money(amount, code),
            )
            for code in self.currencies
        ]
        tokens = _("Tokens a week") if self.is_by_week else _("Tokens a day")
        found.append(self._chart(tokens, lambda sums: sums.tokens, whole))
        return [each for each in found if each]

    @cached_property
    def _bars(self) -> list[list[date]]:
        """The days of each bar: of more than can be told apart, weeks that end as the span does."""
        days = list(self._names_of_days)
        size = 7 if len(days) > MOST_BARS else 1
        ends = range(len(days), 0, -size)
        return [days[max(0, end - size) : end] for end in reversed(ends)]

    @cached_property
    def _names_of_days(self) -> dict[date, str]:
        days = (self.span.first + timedelta(days=n) for n in range(self.span.days))
        return {day: date_format(day, "SHORT_DATE_FORMAT") for day in days}

    def _chart(self, name: str, amount_of: Any, told: Any) -> Chart | None:
        of_bar = {days[0]: amount_of(sums) or 0 for days, sums in self._used}
        amounts = [of_bar.get(days[0], 0) for days in self._bars]
        words = [
            f"{self._name_of(days)}: {told(amount)}" if amount else ""
            for days, amount in zip(self._bars, amounts, strict=True)
        ]
        highest = max(amounts)
        return chart(name, list(zip(amounts, words, strict=True)), told(highest) if highest else "")

    def _name_of(self, days: list[date]) -> str:
        first, last = self._names_of_days[days[0]], self._names_of_days[days[-1]]
        return first if first == last else f"{first} – {last}"

    @cached_property
    def _used(self) -> list[tuple[list[date], Sums]]:
        """Of each bar in which something was: its days, and what they add up to."""
        bar_of = {day: days for days in self._bars for day in days}
        rows = (row | {"day": bar_of[row["day"]][0]} for row in self._rows)
        return [(bar_of[sums.key[0]], sums) for sums in spend_sums.lines(rows, "day").values()]

    @cached_property
    def _rows(self) -> list[spend_sums.Row]:
        return spend_sums.by_day(spend_sums.days(self.span, self.only), self._into)

    @cached_property
    def _into(self) -> str:
        return Rate.target()

    # --- by what tells calls apart ------------------------------------------------------------------

    def tables(self) -> Iterable[Table]:
        for name in COLUMNS:
            if name not in self.narrowed:
                lines = self._lines(name, self._tables[(COLUMNS[name],)])
                yield Table(str(TITLES[name]), str(NAMES[name]), lines)

    @cached_property
    def _tables(self) -> dict[tuple[str, ...], list[Sums]]:
        """By their columns; those that are shown."""
        wanted = [By((column,)) for name, column in COLUMNS.items() if name not in self.narrowed]
        if self._has_speeds:
            wanted.append(By(spend_sums.OF_SPEED, most="calls"))
        rows = spend_sums.days(self.span, self.only)
        found = spend_tables.tables(rows, wanted, self.currencies, MOST_LINES)
        return dict(zip((table.columns for table in wanted), found, strict=True))

    def _lines(self, name: str, found: list[Sums]) -> list[Line]:
        values = [_as_text(sums.key[0]) for sums in found]
        names = self._names(name, values)
        highest = max(map(self._weight, found), default=Decimal())
        lines = []
        for value, sums in zip(values, found, strict=True):
            label, person = names[value]
            view = self.view.narrowed_to(name, value)
            lines.append(
                self._line(
                    label,
                    sums,
                    share=share(self._weight(sums), highest),
                    href=view.here() if view else "",
                    calls=view.calls() if view else "",
                    conversations=self.view.conversations(person) if person else "",
                )
            )
        others = spend_sums.rest(self.total, found)
        return [*lines, self._line(_("others"), others)] if others.calls else lines

    def _weight(self, sums: Sums) -> Decimal:
        """What a line's bar shows: the cost in the first currency, else the tokens."""
        if self.currencies:
            return sums.costs.get(self.currencies[0], Decimal())
        return Decimal(sums.tokens or 0)

    def _names(self, name: str, values: list[str]) -> dict[str, tuple[str, int | None]]:
        if name == "user":
            return {key: tuple(each) for key, each in names_of_users(self.request, values).items()}
        if name == "group":
            return {value: (name_of_group(value), None) for value in values}
        if name == "purpose":
            purposes = dict(Call.Purpose.choices)
            return {value: (str(purposes.get(value, value)), None) for value in values}
        return {value: (value or "—", None) for value in values}

    # --- how well -------------------------------------------------------------------------------------

    @property
    def _has_speeds(self) -> bool:
        """Not of a person or a group: how quickly models answer is kept for all of them together."""
        return set(self.only) <= set(spend_sums.OF_SPEED)

    @cached_property
    def speeds(self) -> list[Speed]:
        if not self._has_speeds:
            return []
        return spend_sums.speeds(self._tables[spend_sums.OF_SPEED], self.span, self.only)

    def _line(self, name: str, sums: Sums, **more: Any) -> Line:
        return Line(name, sums, [sums.show_cost_in(code) for code in self.currencies], **more)


def _as_text(value: Any) -> str:
    return value.hex if isinstance(value, UUID) else str(value)
