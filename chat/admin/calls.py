"""Calls: each request to a gateway with what it used and cost, and what the listed ones add up to."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.utils.formats import date_format, number_format
from django.utils.timezone import localtime
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from chat.models import Call, DayTally
from chat.models.calls import Confidence
from chat.models.search import TooSlow, in_time
from chat.rendering.usage import TOKENS

from . import reading, spend_sums
from .export import Exporting, is_export
from .figures import SUMS, Total, money, per_million, total, whole
from .filters import DaysFilter, OnlyFilter, WordFilter
from .keyset import KeysetList
from .names import name_of_group, names_of_users
from .read_only import ReadOnlyAdmin
from .search import fold

SUM_VAR = "sum"
SUM_S, SUM_MAX_S = 0.2, 60
# What of an address narrows a day's rows as it does the calls.
OF_DAYS = {
    *("started_at_from", "started_at_to", "purpose__exact", "gateway"),
    *("model_name", "model", "user", "group"),
}


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


class OnlyModel(OnlyFilter):
    """To the letter, where the filter for people takes a part of a name."""

    title = gettext_lazy("this model")
    parameter_name = field = "model"


class OnlyUser(OnlyFilter):
    title = gettext_lazy("user")
    parameter_name = "user"
    field = "user_key"

    def name_of(self, request: HttpRequest, value: str) -> str:
        return names_of_users(request, [value])[value].name

    def value(self) -> str | None:
        """None for what is no key."""
        try:
            return UUID(super().value()).hex
        except (TypeError, ValueError, AttributeError):
            return None


class OnlyGroup(OnlyFilter):
    title = gettext_lazy("group")
    parameter_name = "group"
    field = "user_group"

    def name_of(self, request: HttpRequest, value: str) -> str:
        return name_of_group(value)


class OutcomeFilter(admin.SimpleListFilter):
    title = gettext_lazy("outcome")
    parameter_name = "outcome"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("errors", _("errors only")), ("fine", _("without errors"))]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        if self.value() == "errors":
            return queryset.exclude(error_kind="")
        return queryset.filter(error_kind="") if self.value() == "fine" else queryset


class CostFilter(admin.SimpleListFilter):
    title = gettext_lazy("the cost is")
    parameter_name = "cost_confidence"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(value, str(label)) for value, label in Confidence.choices]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return queryset.filter(cost_confidence=self.value()) if self.value() else queryset


class CallList(KeysetList):
    """With what all calls that the filters leave add up to, where that takes but a moment or
    `?sum=1` asks for it.
    """

    total: Total | None = None

    def get_filters_params(self, params: Any = None) -> dict[str, Any]:
        found = super().get_filters_params(params)
        return {name: value for name, value in found.items() if name != SUM_VAR}

    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        try:
            with in_time(SUM_MAX_S if SUM_VAR in self.params else SUM_S):
                self.total = self._total(request)
        except TooSlow:
            self.sum_href = self.get_query_string({SUM_VAR: "1"})

    def _total(self, request: HttpRequest) -> Total:
        """From what days add up to, where these can be told apart by all that is asked for."""
        listed = self.queryset.order_by()
        if not self.get_filters_params().keys() <= OF_DAYS:
            return total(listed.values("currency").annotate(**SUMS))
        days = DayTally.objects.filter(calls__gt=0)
        for each in self.filter_specs:
            is_days = isinstance(each, DaysFilter)
            days = each.of_days(days) if is_days else each.queryset(request, days)
        found = spend_sums.in_all(days)
        # No day counts what hasn't ended.
        for sums in listed.filter(ended_at=None).values("currency").annotate(**SUMS):
            found.add(sums)
        return found


@admin.register(Call)
class CallAdmin(Exporting, ReadOnlyAdmin):
    export_name = "calls"
    change_list_template = "admin/calls.html"
    page_template = "admin/call.html"
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
        CostFilter,
        GatewayFilter,
        ModelFilter,
        OnlyModel,
        OnlyUser,
        OnlyGroup,
    )
    allowed_lookups = ("user__id__exact",)
    sortable_by = ()

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[KeysetList]:
        return KeysetList if is_export(request) else CallList

    def export_rows(
        self, request: HttpRequest, batch: list[Call], form: str
    ) -> Iterator[dict[str, Any]]:
        """Figures only: of what was said a call keeps the gateway's words, and they stay here."""
        whose = self.person if reading.may_name(request) else self.pseudonym
        for call in batch:
            yield {
                "id": call.pk,
                "started_at": call.started_at.isoformat(),
                "ended_at": call.ended_at and call.ended_at.isoformat(),
                "user": whose(call),
                **({"group": call.user_group} if reading.may_name(request) else {}),
                "purpose": call.purpose,
                "gateway": call.gateway_slug,
                "model": call.model,
                "attempt": call.attempt,
                **{name: getattr(call, name) for name in TOKENS},
                "confidence": call.confidence,
                "cost": call.cost,
                "currency": call.currency,
                "cost_confidence": call.cost_confidence,
                "http_status": call.http_status,
                "finish_reason": call.finish_reason,
                "error": call.error_kind,
                "request_id": call.request_id,
            }

    def get_list_display(self, request: HttpRequest) -> list[str]:
        whose = "person" if reading.may_name(request) else "pseudonym"
        return [whose if name == "person" else name for name in self.list_display]

    def get_list_filter(self, request: HttpRequest) -> Any:
        """A group may be one person."""
        may_name = reading.may_name(request)
        return [each for each in self.list_filter if may_name or each is not OnlyGroup]

    def lookup_allowed(self, lookup: str, value: str, request: Any = None) -> bool:
        if lookup in self.allowed_lookups and not reading.may_name(request):
            return False
        return super().lookup_allowed(lookup, value, request)

    def change_view(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        if reading.may_read(request) and reading.must_say_why(request):
            return reading.ask_why(request)
        return super().change_view(request, *args, **kwargs)

    def page_context(self, request: HttpRequest, row: Call) -> dict[str, Any]:
        with_words = reading.may_read(request) and not _is_hidden(request, row)
        if with_words and row.message:
            reading.note(request, reading.What.CALL, [row.message.conversation])
        return {
            "person": self.person(row) if reading.may_name(request) else self.pseudonym(row),
            "call": CallShown(row, with_words=with_words),
        }

    # --- columns ------------------------------------------------------------------------------

    @admin.display(description=gettext_lazy("user"))
    def person(self, call: Call) -> str:
        return str(call.user) if call.user else self.pseudonym(call)

    @admin.display(description=gettext_lazy("user"))
    def pseudonym(self, call: Call) -> str:
        return str(call.user_key.hex[:8])

    @admin.display(description=gettext_lazy("tokens in"))
    def tokens_in(self, call: Call) -> str | None:
        return _tokens(call.prompt_tokens)

    @admin.display(description=gettext_lazy("tokens out"))
    def tokens_out(self, call: Call) -> str | None:
        return _tokens(call.completion_tokens)

    @admin.display(description=gettext_lazy("tokens are"))
    def sure(self, call: Call) -> str:
        return str(call.get_confidence_display())

    @admin.display(description=gettext_lazy("cost"))
    def cost(self, call: Call) -> str | None:
        """`≈` where it is estimated, as in the sums."""
        told = money(call.cost, call.currency)
        is_estimated = call.cost_confidence == Confidence.ESTIMATED
        return f"≈ {told}" if told and is_estimated else told

    @admin.display(description=gettext_lazy("outcome"))
    def outcome(self, call: Call) -> str:
        if call.ended_at is None:
            return _("running")
        return call.error_kind or call.finish_reason or _("ended")


def _is_hidden(request: HttpRequest, call: Call) -> bool:
    message = call.message
    is_deleted = message is not None and (message.deleted_at or message.conversation.deleted_at)
    return bool(is_deleted) and not reading.may_see_deleted(request)


@dataclass
class CallShown:
    """All that is known of one request to a gateway.

    `with_words`: what it said of an error too, which may quote what it was asked.
    """

    call: Call
    with_words: bool = True

    @property
    def title(self) -> str:
        call = self.call
        attempt = _("Call %(n)d") % {"n": call.attempt}
        parts = [attempt, call.gateway_slug, call.model, call.error_kind or call.finish_reason]
        return " · ".join(part for part in parts if part)

    @property
    def facts(self) -> list[tuple[str, str]]:
        call = self.call
        started = date_format(localtime(call.started_at), "DATETIME_FORMAT")
        found: list[tuple[str, str | None]] = [
            (_("purpose"), call.get_purpose_display()),
            (_("started"), started),
            (_("first token after"), seconds(call.started_at, call.first_delta_at)),
            (_("ended after"), seconds(call.started_at, call.ended_at)),
            (_("HTTP status"), str(call.http_status) if call.http_status else None),
            (_("request id"), call.request_id),
            (_("finish reason"), call.finish_reason),
            (_("error"), call.error_kind),
            (_("the gateway's words"), call.error_message if self.with_words else None),
            (_("prompt tokens"), _tokens(call.prompt_tokens)),
            (_("cached of these"), _tokens(call.cached_tokens)),
            (_("completion tokens"), _tokens(call.completion_tokens)),
            (_("reasoning of these"), _tokens(call.reasoning_tokens)),
            (_("total tokens"), _tokens(call.total_tokens)),
            (_("tokens are"), call.get_confidence_display()),
            (_("cost"), money(call.cost, call.currency)),
            (_("the cost is"), call.get_cost_confidence_display()),
            (_("price"), per_million(call.price) if call.price else None),
        ]
        return [(name, value) for name, value in found if value]

    @property
    def raw(self) -> str:
        """The usage object to the letter."""
        return self.call.usage_raw


def _tokens(count: int | None) -> str | None:
    return None if count is None else whole(count)


def seconds(start: datetime, end: datetime | None) -> str | None:
    if end is None:
        return None
    return _("%(seconds)s s") % {"seconds": number_format((end - start).total_seconds(), 2)}
