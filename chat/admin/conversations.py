"""Conversations: found by whose, when, with what and by which words; opened as a transcript.

Who may not read sees the same list without titles and words, and where names aren't for them
either, without names.
"""

from collections.abc import Iterator
from typing import Any
from uuid import UUID

from django.contrib import admin, messages
from django.contrib.auth.models import Group
from django.core.exceptions import PermissionDenied
from django.db.models import Count, Exists, OuterRef, Q, QuerySet, Sum
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404
from django.template.loader import render_to_string
from django.template.response import TemplateResponse
from django.urls import path
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from chat.models import Conversation, Feedback, Gateway, Message, Picture, Tally, User, search
from chat.models.holds import is_held
from chat.rendering import pictures
from chat.rendering.export import with_threads

from . import reading, replay, transcript
from .export import Exporting, is_export
from .figures import Total, whole
from .filters import CostFilter, DaysFilter, WordFilter
from .keyset import KeysetList
from .people import ROLE_NAMES
from .read_only import ReadOnlyAdmin
from .scores import ScoreFilter, Scores, Scoring, exported
from .search import fold

Status = Message.Status
MOST_NAMES = 500


def having(**conditions: Any) -> Exists:
    return Exists(Message.objects.filter(conversation=OuterRef("pk"), **conditions))


def tallied(**conditions: Any) -> Exists:
    return Exists(Tally.objects.filter(conversation=OuterRef("pk"), **conditions))


class OwnerFilter(WordFilter):
    title = gettext_lazy("owner")
    parameter_name = "owner"

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        if not self.value():
            return queryset
        found = User.objects.filter(username__fold__contains=fold(self.value()))
        return queryset.filter(owner__in=list(found.values_list("pk", flat=True)[:MOST_NAMES]))


class GroupFilter(admin.SimpleListFilter):
    title = gettext_lazy("group")
    parameter_name = "group"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        groups = Group.objects.order_by("pk").values_list("pk", "name")
        return [(str(pk), str(ROLE_NAMES.get(name, name))) for pk, name in groups]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        if not self.value():
            return queryset
        chosen = int(self.value()) if self.value().isdecimal() else 0
        return queryset.filter(owner__in=User.objects.filter(groups=chosen).values("pk"))


class GatewayFilter(admin.SimpleListFilter):
    title = gettext_lazy("gateway")
    parameter_name = "gateway"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return list(Gateway.objects.values_list("slug", "name"))

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return queryset.filter(tallied(gateway_slug=self.value())) if self.value() else queryset


class ModelFilter(WordFilter):
    title = gettext_lazy("model")
    parameter_name = "model"

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        if not self.value():
            return queryset
        word = fold(self.value()) or ""
        found = [name for name in Tally.model_names() if word in (fold(name) or "")]
        return queryset.filter(tallied(model__in=found[:MOST_NAMES]))


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


class RatingFilter(admin.SimpleListFilter):
    title = gettext_lazy("rating")
    parameter_name = "rating"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        return [("down", _("thumbs down")), ("up", _("thumbs up"))]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        rating = {"down": Feedback.Rating.DOWN, "up": Feedback.Rating.UP}.get(self.value() or "")
        if rating is None:
            return queryset
        rated = Feedback.objects.filter(rating=rating).order_by()
        return queryset.filter(pk__in=rated.values("message__conversation"))


class DeletedFilter(admin.SimpleListFilter):
    title = gettext_lazy("deleted by the owner")
    parameter_name = "deleted"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("no", _("no")), ("yes", _("yes"))]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        if self.value() in ("no", "yes"):
            return queryset.filter(deleted_at__isnull=self.value() == "no")
        return queryset


class SpentFilter(CostFilter):
    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        if not self.bounds:
            return queryset
        of_currency = Tally.objects.filter(conversation=OuterRef("pk"), currency=self.currency)
        spent = of_currency.order_by().values("conversation").annotate(cost=Sum("cost_nano"))
        return queryset.filter(
            Exists(spent.filter(priced__gt=0, **self.of("cost")).values("conversation"))
        )

    def currencies(self) -> list[str]:
        return Tally.currencies()


class FoundConversations(KeysetList):
    """What the filters leave, and of a search what it found."""

    # Where a search has found something: the conversation and its message, if it isn't the title.
    places: dict[int, int | None]

    def get_queryset(self, request: HttpRequest, *args: Any, **kwargs: Any) -> QuerySet[Any]:
        self.places = {}
        rows = super().get_queryset(request, *args, **kwargs)
        if not self.query.strip() or not reading.may_read(request):
            return rows
        try:
            self.places = search.conversations(self.query)
        except search.TooSlow:
            messages.warning(request, _("These words are nearly everywhere. Add a rarer one."))
        return rows.filter(pk__in=list(self.places))

    def get_results(self, request: HttpRequest) -> None:
        """One page of them; an export goes through all by itself."""
        if is_export(request):
            self.result_list = []
        else:
            super().get_results(request)


def add_up(conversations: list[Any]) -> None:
    """Give each what it adds up to; each kind of sum is one query."""
    if conversations:
        found = {conversation.pk: conversation for conversation in conversations}
        for conversation in conversations:
            conversation.models, conversation.total = [], Total()
            conversation.message_count = conversation.error_count = conversation.down_count = 0
        for tally in Tally.objects.filter(conversation__in=found, calls__gt=0).order_by("model"):
            conversation = found[tally.conversation_id]
            conversation.total.add_tally(tally)
            if tally.model not in conversation.models:
                conversation.models.append(tally.model)
        bad = Count("pk", filter=Q(status__in=transcript.ENDED_BADLY))
        counts = Message.objects.filter(conversation__in=found).order_by().values("conversation")
        for row in counts.annotate(messages=Count("pk"), errors=bad):
            conversation = found[row["conversation"]]
            conversation.message_count, conversation.error_count = row["messages"], row["errors"]
        downs = Feedback.objects.filter(
            message__conversation__in=found, rating=Feedback.Rating.DOWN
        )
        for row in downs.order_by().values("message__conversation").annotate(downs=Count("pk")):
            found[row["message__conversation"]].down_count = row["downs"]


class ConversationList(FoundConversations):
    """One page of them, with what they add up to."""

    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        add_up(self.result_list)
        if reading.may_read(request):
            what = reading.What.SNIPPET if self.query else reading.What.TITLE
            reading.note(request, what, self.result_list)
            self._find_passages()

    def _find_passages(self) -> None:
        places = self.places
        wanted = [place for c in self.result_list if (place := places.get(c.pk))]
        passages = search.passages(self.query, wanted) if wanted else {}
        for conversation in self.result_list:
            conversation.passage = passages.get(places.get(conversation.pk), [])


@admin.register(Conversation)
class ConversationAdmin(Exporting, Scoring, ReadOnlyAdmin):
    export_name = "conversations"
    page_template = "admin/transcript.html"
    keyset_field = "active_at"
    list_display = ("name", "owner", "models", "messages", "tokens", "cost", "active_at", "flags")
    list_select_related = ("owner",)
    list_filter = (
        ("active_at", DaysFilter),
        OwnerFilter,
        GroupFilter,
        StatusFilter,
        RatingFilter,
        ScoreFilter,
        GatewayFilter,
        ModelFilter,
        SpentFilter,
        DeletedFilter,
    )
    allowed_lookups = ("owner__id__exact",)
    search_fields = ("title",)  # any, for the stock search form; see ConversationList
    search_help_text = gettext_lazy("Titles and messages; all words must be in one of them.")
    sortable_by = ()

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        may_see = request.user.has_perm("chat.see_sums")
        return may_see or super().has_view_permission(request, obj)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        rows = super().get_queryset(request)
        return rows if reading.may_see_deleted(request) else rows.filter(deleted_at=None)

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[KeysetList]:
        return FoundConversations if is_export(request) else ConversationList

    def export_rows(
        self, request: HttpRequest, batch: list[Any], form: str
    ) -> Iterator[dict[str, Any]]:
        with_words, with_names = reading.may_read(request), reading.may_name(request)
        if with_words:
            reading.note(request, reading.What.EXPORT, batch)
        add_up(batch)
        scores = exported(batch, form, with_names=with_names)
        has_threads = with_words and form == "jsonl"
        for c, thread in with_threads(batch) if has_threads else ((c, None) for c in batch):
            row = {
                "id": str(c.uuid),
                "title": c.title,
                "owner": c.owner.username if with_names else c.owner.key.hex[:8],
                "models": c.models,
                "messages": c.message_count,
                "errors": c.error_count,
                "thumbs_down": c.down_count,
                "scores": scores.get(c.pk, []),
                "tokens": c.total.tokens,
                "cost": [f"{cost:f} {code}" for code, cost in sorted(c.total.costs.items())],
                "unknown_calls": max(c.total.unknown, c.total.unknown_cost),
                "created_at": c.created_at.isoformat(),
                "active_at": c.active_at.isoformat(),
                "deleted_at": c.deleted_at and c.deleted_at.isoformat(),
            }
            if not with_words:
                del row["title"]
            if thread is not None:
                row["thread"] = thread
            yield row

    def get_list_display(self, request: HttpRequest) -> list[str]:
        names = list(self.list_display)
        if not reading.may_read(request):
            names[0] = "number"
        elif request.GET.get("q"):
            names.insert(1, "passage")
        if not reading.may_name(request):
            names[names.index("owner")] = "pseudonym"
        return names

    def get_list_display_links(self, request: HttpRequest, list_display: Any) -> Any:
        return ("name",) if reading.may_read(request) else None

    def get_list_filter(self, request: HttpRequest) -> Any:
        hidden = () if reading.may_name(request) else (OwnerFilter, GroupFilter)
        if not reading.may_see_deleted(request):
            hidden += (DeletedFilter,)
        return [each for each in self.list_filter if each not in hidden]

    def lookup_allowed(self, lookup: str, value: str, request: Any = None) -> bool:
        is_of_names = lookup in ("owner", "group", *self.allowed_lookups)
        if is_of_names and not reading.may_name(request):
            return False
        return super().lookup_allowed(lookup, value, request)

    def get_search_fields(self, request: HttpRequest) -> Any:
        return self.search_fields if reading.may_read(request) else ()

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> HttpResponse:
        if reading.may_read(request) and reading.must_say_why(request):
            return reading.ask_why(request)
        return super().changelist_view(request, extra_context)

    @reading.readers_only
    def change_view(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        return super().change_view(request, *args, **kwargs)

    @reading.readers_only
    def history_view(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        return super().history_view(request, *args, **kwargs)

    def get_urls(self) -> list[Any]:
        guard = self.admin_site.admin_view
        return [
            path(
                "<int:pk>/replay/<uuid:message>/",
                guard(self.replay_view),
                name="chat_conversation_replay",
            ),
            path(
                "<int:pk>/pictures/<int:picture>/",
                guard(self.picture_view),
                name="chat_conversation_picture",
            ),
            *super().get_urls(),
        ]

    @reading.readers_only
    def picture_view(self, request: HttpRequest, pk: int, picture: int) -> HttpResponse:
        """An image that a model made for one of its replies."""
        if request.method not in ("GET", "HEAD"):
            raise PermissionDenied
        conversation = get_object_or_404(self.get_queryset(request), pk=pk)
        found = Picture.objects.filter(message__conversation=conversation)
        if not reading.may_see_deleted(request):
            found = found.filter(message__deleted_at=None)
        found = get_object_or_404(found.select_related("message"), pk=picture)
        reading.note(request, reading.What.PICTURE, [conversation])
        return pictures.served(found)

    @reading.readers_only
    def replay_view(self, request: HttpRequest, pk: int, message: UUID) -> HttpResponse:
        """One of its replies, played back as it came."""
        if request.method not in ("GET", "HEAD"):
            raise PermissionDenied
        conversation = get_object_or_404(self.get_queryset(request), pk=pk)
        replies = conversation.messages.filter(role=Message.Role.ASSISTANT)
        if not reading.may_see_deleted(request):
            replies = replies.filter(deleted_at=None)
        row = get_object_or_404(replies.for_display(), uuid=message)
        reading.note(request, reading.What.REPLAY, [conversation])
        context = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "title": _("Replay"),
            "conversation": conversation,
            "replay": replay.of(row),
        }
        return TemplateResponse(request, "admin/replay.html", context)

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        """Left to the list, which tells where it found what."""
        return queryset, False

    def page_context(self, request: HttpRequest, row: Conversation) -> dict[str, Any]:
        reading.note(request, reading.What.TRANSCRIPT, [row])
        with_deleted = reading.may_see_deleted(request)
        found = transcript.of(
            row, request.GET.get("p", ""), with_deleted=with_deleted, scores=Scores(request)
        )
        return {
            "conversation": row,
            "origin": _origin(row, with_deleted=with_deleted),
            "is_held": is_held(row),
            **found,
        }

    # --- columns ------------------------------------------------------------------------------

    @admin.display(description=gettext_lazy("title"))
    def name(self, conversation: Any) -> str:
        return conversation.shown_title or _("Untitled")

    @admin.display(description="№")
    def number(self, conversation: Any) -> str:
        return str(conversation.pk)

    @admin.display(description=gettext_lazy("owner"))
    def pseudonym(self, conversation: Any) -> str:
        return str(conversation.owner.key.hex[:8])

    @admin.display(description=gettext_lazy("passage"), empty_value="")
    def passage(self, conversation: Any) -> str:
        return render_to_string("_pieces.html", {"pieces": conversation.passage})

    @admin.display(description=gettext_lazy("model"))
    def models(self, conversation: Any) -> str:
        return ", ".join(conversation.models)

    @admin.display(description=gettext_lazy("messages"))
    def messages(self, conversation: Any) -> str:
        return whole(conversation.message_count)

    @admin.display(description=gettext_lazy("tokens"))
    def tokens(self, conversation: Any) -> str | None:
        return conversation.total.show_tokens()

    @admin.display(description=gettext_lazy("cost"))
    def cost(self, conversation: Any) -> str | None:
        return conversation.total.show_cost()

    @admin.display(description=gettext_lazy("flags"), empty_value="")
    def flags(self, conversation: Any) -> str:
        flags = [_("deleted")] if conversation.deleted_at else []
        if conversation.error_count:
            flags.append(_("errors: %(n)s") % {"n": whole(conversation.error_count)})
        if conversation.down_count:
            flags.append(_("thumbs down: %(n)s") % {"n": whole(conversation.down_count)})
        return ", ".join(flags)


def _origin(conversation: Conversation, *, with_deleted: bool) -> Conversation | None:
    """The one that it was copied from."""
    message = conversation.forked_from
    if message is None:
        return None
    is_deleted = message.deleted_at is not None or message.conversation.deleted_at is not None
    return message.conversation if with_deleted or not is_deleted else None
