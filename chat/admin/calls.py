"""Calls: each request to a gateway with what it used and cost, and what the listed ones add up to."""

from collections.abc import Iterable
from typing import Any

from django.contrib import admin
from django.contrib.admin.views.main import ChangeList
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.html import format_html
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from chat.models import Call

from .figures import SUMS, money, total, whole
from .filters import DaysFilter, WordFilter
from .read_only import ReadOnlyAdmin
from .search import fold

# What a gateway says of an error may quote what it was asked.
QUOTING = ("error_message",)


class ModelFilter(WordFilter):
    title = gettext_lazy("model")
    parameter_name = "model_name"

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        if not self.value():
            return queryset
        return queryset.filter(model__fold__contains=fold(self.value()))


class GatewayFilter(WordFilter):
    title = gettext_lazy("gateway")
    parameter_name = "gateway"

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return queryset.filter(gateway_slug=self.value()) if self.value() else queryset


class OutcomeFilter(admin.SimpleListFilter):
    title = gettext_lazy("outcome")
    parameter_name = "outcome"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("errors", _("errors only")), ("fine", _("without errors"))]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        if self.value() == "errors":
            return queryset.exclude(error_kind="")
        return queryset.filter(error_kind="") if self.value() == "fine" else queryset


class CallList(ChangeList):
    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        listed = self.queryset.order_by().values("currency")
        self.total = total(listed.annotate(**SUMS))


@admin.register(Call)
class CallAdmin(ReadOnlyAdmin):
    change_list_template = "admin/calls.html"
    list_display = (
        "started_at",
        "person",
        "purpose",
        "gateway_slug",
        "model",
        "tokens_in",
        "tokens_out",
        "sure",
        "cost",
        "outcome",
    )
    list_select_related = ("user",)
    list_filter = (
        ("started_at", DaysFilter),
        OutcomeFilter,
        "purpose",
        "confidence",
        GatewayFilter,
        ModelFilter,
    )
    show_facets = admin.ShowFacets.NEVER
    ordering = ("-id",)
    sortable_by = ()
    fields = (
        "started_at",
        "first_delta_at",
        "ended_at",
        "person",
        "purpose",
        "attempt",
        "gateway_slug",
        "model",
        "http_status",
        "finish_reason",
        "error_kind",
        "error_message",
        "request_id",
        "prompt_tokens",
        "completion_tokens",
        "total_tokens",
        "cached_tokens",
        "reasoning_tokens",
        "confidence",
        "cost",
        "cost_confidence",
        "usage_as_it_came",
    )

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return CallList

    def get_list_display(self, request: HttpRequest) -> list[str]:
        return _for_eyes_of(request, self.list_display)

    def get_fields(self, request: HttpRequest, obj: Call | None = None) -> list[str]:
        return _for_eyes_of(request, self.fields)

    def get_readonly_fields(self, request: HttpRequest, obj: Call | None = None) -> list[str]:
        return self.get_fields(request, obj)

    # --- columns ------------------------------------------------------------------------------

    @admin.display(description=gettext_lazy("user"))
    def person(self, call: Call) -> str:
        return str(call.user) if call.user else self.pseudonym(call)

    @admin.display(description=gettext_lazy("user"))
    def pseudonym(self, call: Call) -> str:
        return call.user_key.hex[:8]

    @admin.display(description=gettext_lazy("tokens in"))
    def tokens_in(self, call: Call) -> str | None:
        return _whole(call.prompt_tokens)

    @admin.display(description=gettext_lazy("tokens out"))
    def tokens_out(self, call: Call) -> str | None:
        return _whole(call.completion_tokens)

    @admin.display(description=gettext_lazy("tokens are"))
    def sure(self, call: Call) -> str:
        return str(call.get_confidence_display())

    @admin.display(description=gettext_lazy("cost"))
    def cost(self, call: Call) -> str | None:
        return money(call.cost, call.currency)

    @admin.display(description=gettext_lazy("outcome"))
    def outcome(self, call: Call) -> str:
        if call.ended_at is None:
            return _("running")
        return call.error_kind or call.finish_reason or _("ended")

    @admin.display(description=gettext_lazy("usage as it came"))
    def usage_as_it_came(self, call: Call) -> str | None:
        return format_html("<pre>{}</pre>", call.usage_raw) if call.usage_raw else None


def _for_eyes_of(request: HttpRequest, names: Iterable[str]) -> list[str]:
    """Who reads conversations or manages people sees whose call it was; for others a person is a key."""
    may_read = request.user.has_perm("chat.view_conversation")
    if may_read or request.user.has_perm("chat.view_user"):
        names = [*names]
    else:
        names = ["pseudonym" if name == "person" else name for name in names]
    return [name for name in names if may_read or name not in QUOTING]


def _whole(number: int | None) -> str | None:
    return None if number is None else whole(number)
