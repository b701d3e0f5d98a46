"""The list of people with what they have used in some days, to be sorted by it."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from django.contrib import admin
from django.contrib.admin.views.main import ChangeList
from django.db.models import BigIntegerField, Max, OuterRef, Q, QuerySet, Subquery, Sum, Value
from django.db.models.functions import Coalesce
from django.http import HttpRequest
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from chat.models import Conversation, DayTally

from . import spend_sums
from .figures import moment, whole
from .spans import LAST_DAYS, Span
from .spend_sums import Sums

ALL = "all"
# More than these an installation is not asked to sort by.
MOST_CURRENCIES = 4
_NEVER = Value(datetime(1970, 1, 1, tzinfo=UTC))
Column = Callable[[Any], Any]


class DaysOfUse(admin.SimpleListFilter):
    """Of which days the sums in the list are; it leaves everybody in the list."""

    title = gettext_lazy("used in")
    parameter_name = "days"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        last = [
            (str(days), ngettext("the last %(n)d day", "the last %(n)d days", days) % {"n": days})
            for days in LAST_DAYS
            if days > 1
        ]
        return [("1", _("Today")), *last, (ALL, _("all the time"))]

    def value(self) -> str:
        return super().value() or str(LAST_DAYS[-1])

    def choices(self, changelist: Any) -> list[dict[str, Any]]:
        return [
            {
                "selected": self.value() == value,
                "query_string": changelist.get_query_string({self.parameter_name: value}),
                "display": label,
            }
            for value, label in self.lookup_choices
        ]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return queryset


def asked_days(request: HttpRequest) -> Q:
    """The days of which `DaysOfUse` would have the sums."""
    asked = request.GET.get(DaysOfUse.parameter_name, "")
    if asked == ALL:
        return Q()
    return Span.lasting(int(asked) if asked in map(str, LAST_DAYS) else LAST_DAYS[-1]).condition


def columns(request: HttpRequest) -> list[Any]:
    """A column for each currency, then tokens, messages and last activity; made once a request."""
    made = getattr(request, "_columns_of_use", None)
    if made is None:
        made = [_cost(currency, asked_days(request)) for currency in _currencies(request)]
        made += [_tokens(asked_days(request)), _messages(asked_days(request)), _active()]
        request._columns_of_use = made
    return list(made)


class UserList(ChangeList):
    """Gives each person of the page what they have used, and when they were last active."""

    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        self.result_list = list(self.result_list)
        add_use(request, self.result_list)


def add_use(request: HttpRequest, users: list[Any]) -> None:
    """Give each what they have used in the days that are asked for; each kind of sum is one query."""
    people = {user.key: user for user in users}
    rows = DayTally.objects.filter(asked_days(request), user_key__in=people)
    used = spend_sums.by_user(rows)
    theirs = Conversation.objects.filter(owner__in=users).order_by()
    active = dict(theirs.values_list("owner").annotate(Max("active_at")))
    for user in people.values():
        user.used = used.get(user.key, Sums())
        user.active_at = active.get(user.pk)


def _currencies(request: HttpRequest) -> list[str]:
    """In which anything was paid in these days, the most used one first."""
    paid = DayTally.objects.filter(asked_days(request), priced__gt=0).order_by()
    found = paid.values_list("currency").annotate(n=Sum("priced")).order_by("-n", "currency")
    return [currency for currency, _n in found[:MOST_CURRENCIES]]


def _cost(currency: str, days: Q) -> Column:
    @admin.display(
        description=_("cost, %(code)s") % {"code": currency},
        ordering=_summed("cost_nano", days & Q(currency=currency, priced__gt=0)),
    )
    def cost(user: Any) -> str | None:
        return user.used.show_cost_in(currency)

    return cost


def _tokens(days: Q) -> Column:
    @admin.display(description=_("tokens"), ordering=_summed("tokens", days))
    def tokens(user: Any) -> str | None:
        return user.used.show_tokens()

    return tokens


def _messages(days: Q) -> Column:
    @admin.display(description=_("messages"), ordering=_summed("replies", days))
    def messages(user: Any) -> str | None:
        return whole(user.used.replies) if user.used.calls else None

    return messages


def _active() -> Column:
    theirs = Conversation.objects.filter(owner=OuterRef("pk")).order_by("-active_at", "-id")
    last = Coalesce(Subquery(theirs.values("active_at")[:1]), _NEVER)

    @admin.display(description=_("last active"), ordering=last)
    def active(user: Any) -> str | None:
        return moment(user.active_at) if user.active_at else None

    return active


def _summed(name: str, which: Q) -> Coalesce:
    """What a list is sorted by; who has used nothing comes before whoever has."""
    rows = DayTally.objects.filter(which, user_key=OuterRef("key")).order_by()
    sums = rows.values("user_key").annotate(sum=Sum(name)).values("sum")
    return Coalesce(Subquery(sums, output_field=BigIntegerField()), Value(-1))
