"""Conversations: found by whose, when, with what and by which words; opened as a transcript."""

from typing import Any

from django.contrib import admin, messages
from django.contrib.admin.views.main import ChangeList
from django.db.models import Count, Exists, OuterRef, Q, QuerySet
from django.http import HttpRequest
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from chat.models import Call, Conversation, Gateway, Message, search

from . import transcript
from .figures import SUMS, Total, whole
from .filters import DaysFilter, WordFilter
from .read_only import ReadOnlyAdmin
from .search import fold

Status = Message.Status


def having(**conditions: Any) -> Exists:
    return Exists(Message.objects.filter(conversation=OuterRef("pk"), **conditions))


class GatewayFilter(admin.SimpleListFilter):
    title = gettext_lazy("gateway")
    parameter_name = "gateway"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return list(Gateway.objects.values_list("slug", "name"))

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return queryset.filter(having(gateway__slug=self.value())) if self.value() else queryset


class ModelFilter(WordFilter):
    title = gettext_lazy("model")
    parameter_name = "model"

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        if not self.value():
            return queryset
        return queryset.filter(having(model__fold__contains=fold(self.value())))


class StatusFilter(admin.SimpleListFilter):
    title = gettext_lazy("replies")
    parameter_name = "status"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        return [
            ("errors", _("with errors")),
            ("failed", _("failed")),
            ("interrupted", _("interrupted")),
            ("stopped", _("stopped")),
            ("running", _("running now")),
        ]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        statuses = {
            "errors": transcript.ENDED_BADLY,
            "failed": (Status.FAILED,),
            "interrupted": (Status.INTERRUPTED,),
            "stopped": (Status.STOPPED,),
            "running": (Status.QUEUED, Status.STREAMING),
        }.get(self.value() or "")
        return queryset.filter(having(status__in=statuses)) if statuses else queryset


class DeletedFilter(admin.SimpleListFilter):
    title = gettext_lazy("deleted by the owner")
    parameter_name = "deleted"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("no", _("no")), ("yes", _("yes"))]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        if self.value() in ("no", "yes"):
            return queryset.filter(deleted_at__isnull=self.value() == "no")
        return queryset


class ConversationList(ChangeList):
    """One page of conversations, with what their messages and calls add up to in two queries."""

    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        self.result_list = list(self.result_list)
        ids = [conversation.pk for conversation in self.result_list]
        replies = Q(role=Message.Role.ASSISTANT)
        by_model = (
            Message.objects.filter(conversation__in=ids)
            .order_by("conversation", "model")
            .values("conversation", "model")
            .annotate(
                messages=Count("pk"),
                errors=Count("pk", filter=replies & Q(status__in=transcript.ENDED_BADLY)),
            )
        )
        by_currency = (
            Call.objects.filter(message__conversation__in=ids)
            .order_by()
            .values("message__conversation", "currency")
            .annotate(**SUMS)
        )
        found = {conversation.pk: conversation for conversation in self.result_list}
        for conversation in self.result_list:
            conversation.models, conversation.total = [], Total()
            conversation.message_count = conversation.error_count = 0
        for row in by_model:
            conversation = found[row["conversation"]]
            conversation.message_count += row["messages"]
            conversation.error_count += row["errors"]
            if row["model"]:
                conversation.models.append(row["model"])
        for row in by_currency:
            found[row["message__conversation"]].total.add(row)


@admin.register(Conversation)
class ConversationAdmin(ReadOnlyAdmin):
    page_template = "admin/transcript.html"
    list_display = ("name", "owner", "models", "messages", "tokens", "cost", "active_at", "flags")
    list_select_related = ("owner",)
    list_filter = (
        ("active_at", DaysFilter),
        StatusFilter,
        GatewayFilter,
        ModelFilter,
        DeletedFilter,
    )
    search_fields = ("title",)  # any, for the stock search form; see get_search_results
    search_help_text = gettext_lazy("Titles and messages; all words must be in one of them.")
    sortable_by = ("active_at",)

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return ConversationList

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        """By the words of titles and messages; of what is nearly everywhere, the newest."""
        if not search_term.strip():
            return queryset, False
        try:
            found = search.conversations(search_term)
        except search.TooSlow:
            messages.warning(request, _("These words are nearly everywhere. Add a rarer one."))
            found = []
        return queryset.filter(pk__in=found), False

    def page_context(self, request: HttpRequest, row: Conversation) -> dict[str, Any]:
        return {"conversation": row, **transcript.of(row, request.GET.get("p", ""))}

    # --- columns ------------------------------------------------------------------------------

    @admin.display(description=gettext_lazy("title"))
    def name(self, conversation: Any) -> str:
        return conversation.title or _("Untitled")

    @admin.display(description=gettext_lazy("model"))
    def models(self, conversation: Any) -> str:
        return ", ".join(conversation.models)

    @admin.display(description=gettext_lazy("messages"))
    def messages(self, conversation: Any) -> str:
        return whole(conversation.message_count)

    @admin.display(description=gettext_lazy("tokens"))
    def tokens(self, conversation: Any) -> str | None:
        return conversation.total.show_tokens()  # type: ignore[no-any-return]

    @admin.display(description=gettext_lazy("cost"))
    def cost(self, conversation: Any) -> str | None:
        return conversation.total.show_cost()  # type: ignore[no-any-return]

    @admin.display(description=gettext_lazy("flags"), empty_value="")
    def flags(self, conversation: Any) -> str:
        flags = [_("deleted")] if conversation.deleted_at else []
        if conversation.error_count:
            flags.append(_("errors: %(n)s") % {"n": whole(conversation.error_count)})
        return ", ".join(flags)
