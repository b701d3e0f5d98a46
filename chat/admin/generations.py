"""What runs now, oldest first, with what stands still in it; and what was interrupted of late."""

from datetime import datetime, timedelta
from typing import Any

from django.contrib import admin, messages
from django.contrib.admin.utils import unquote
from django.contrib.admin.views.main import ChangeList
from django.core.exceptions import PermissionDenied
from django.db.models import Count, QuerySet
from django.db.models.functions import Right
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseNotAllowed
from django.shortcuts import redirect
from django.urls import path, reverse
from django.utils import timezone
from django.utils.formats import number_format
from django.utils.html import format_html
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from chat import security
from chat.models import Generation, Message

from . import pulses, reading
from .read_only import ReadOnlyAdmin

Status = Message.Status
RUNNING = (Status.QUEUED, Status.STREAMING)
LIVE_VAR = "live"
KINDS = {
    "send": gettext_lazy("a question"),
    "regenerate": gettext_lazy("another answer"),
    "retry": gettext_lazy("a retry"),
    "continue": gettext_lazy("a continuation"),
}
# Without a word for so long, a reply is told as silent.
QUIET_S = 60
INTERRUPTED_WITHIN = timedelta(days=7)
# More than the longest line of `Generation.timings`.
_LAST_LINE_CHARS = 80


class StateFilter(admin.SimpleListFilter):
    title = gettext_lazy("state")
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("interrupted", _("interrupted in the last 7 days"))]

    def choices(self, changelist: Any) -> Any:
        running, *others = super().choices(changelist)
        return [running | {"display": _("running now")}, *others]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        if self.value() != "interrupted":
            return queryset.filter(status__in=RUNNING).order_by("pk")
        since = timezone.now() - INTERRUPTED_WITHIN
        interrupted = queryset.filter(status=Status.INTERRUPTED, ended_at__gte=since)
        return interrupted.order_by("-ended_at", "-pk")


class RunningList(ChangeList):
    def get_filters_params(self, params: Any = None) -> dict[str, Any]:
        found = super().get_filters_params(params)
        return {name: value for name, value in found.items() if name != LIVE_VAR}

    def get_ordering(self, request: HttpRequest, queryset: QuerySet[Any]) -> list[Any]:
        """As the filter has it."""
        return list(queryset.query.order_by)

    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        self.result_list = list(self.result_list)
        running = [each for each in self.result_list if each.status == Status.STREAMING]
        still = pulses.standing(request, running)
        for generation in self.result_list:
            generation.stands_still = generation.pk in still
        if reading.may_read(request) and LIVE_VAR not in request.GET:
            shown = [generation.conversation for generation in self.result_list]
            reading.note(request, reading.What.TITLE, shown)


@admin.register(Generation)
class GenerationAdmin(ReadOnlyAdmin):
    change_list_template = "admin/running.html"
    has_row_commands = True
    told_when_empty = gettext_lazy("Nothing is running or waiting.")
    list_display = (
        "asked",
        "person",
        "of_model",
        "through",
        "asked_as",
        "state",
        "characters",
        "speed",
        "place",
        "command",
    )
    list_display_links = None
    list_select_related = ("user", "gateway", "message", "conversation__owner")
    list_filter = (StateFilter,)
    list_per_page = 200
    sortable_by = ()

    def get_queryset(self, request: HttpRequest) -> QuerySet[Generation]:
        rows = super().get_queryset(request).annotate(last=Right("timings", _LAST_LINE_CHARS))
        return rows.defer("timings", "message__text", "message__reasoning")

    def get_list_display(self, request: HttpRequest) -> list[str]:
        """Which conversation it is, is for those who may open it; and told once, not every 5 s."""
        left_out = set()
        if not reading.may_read(request) or LIVE_VAR in request.GET:
            left_out.add("place")
        if not request.user.has_perm("chat.stop_generation"):
            left_out.add("command")
        return [name for name in self.list_display if name not in left_out]

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> HttpResponse:
        if reading.may_read(request) and reading.must_say_why(request):
            return reading.ask_why(request)
        context = {
            "heading": _("Running now"),
            "is_live": LIVE_VAR in request.GET,
            "counts": self._counts(),
        }
        return super().changelist_view(request, context)

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return RunningList

    @staticmethod
    def _counts() -> list[tuple[str, int]]:
        rows = Generation.objects.filter(status__in=RUNNING).order_by().values_list("status")
        running = dict(rows.annotate(Count("pk")))
        since = timezone.now() - INTERRUPTED_WITHIN
        interrupted = Generation.objects.filter(status=Status.INTERRUPTED, ended_at__gte=since)
        return [
            (_("streaming"), running.get(Status.STREAMING, 0)),
            (_("queued"), running.get(Status.QUEUED, 0)),
            (_("interrupted in the last 7 days"), interrupted.count()),
        ]

    # --- stop ---------------------------------------------------------------------------------

    def get_urls(self) -> list[Any]:
        guarded = self.admin_site.admin_view(self.stop)
        stop = path("<path:object_id>/stop/", guarded, name="chat_generation_stop")
        return [stop, *super().get_urls()]

    def stop(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """End somebody's reply as they themselves would; what it has is kept."""
        if not request.user.has_perm("chat.stop_generation"):
            raise PermissionDenied
        generation = self.get_object(request, unquote(object_id))
        if generation is None:
            raise Http404
        if request.method != "POST":
            return HttpResponseNotAllowed(["POST"])
        meant = Generation.objects.filter(pk=generation.pk, status__in=RUNNING)
        if meant.exists():
            Generation.stop_all(meant)
            security.note("reply_stopped", user=generation.user.username, generation=generation.pk)
            messages.success(request, _("The reply is being stopped. What it has is kept."))
        else:
            messages.info(request, _("It had ended already."))
        return redirect("admin:chat_generation_changelist")

    # --- columns ------------------------------------------------------------------------------

    @admin.display(description=gettext_lazy("running for"))
    def asked(self, generation: Generation) -> timedelta:
        end = generation.ended_at or timezone.now()
        since = end - (generation.claimed_at or generation.queued_at)
        return timedelta(seconds=round(since.total_seconds()))

    @admin.display(description=gettext_lazy("owner"))
    def person(self, generation: Generation) -> str:
        return str(generation.user)

    @admin.display(description=gettext_lazy("model"))
    def of_model(self, generation: Generation) -> str:
        return str(generation.message.model)

    @admin.display(description=gettext_lazy("gateway"))
    def through(self, generation: Generation) -> str | None:
        return str(generation.gateway) if generation.gateway else None

    @admin.display(description=gettext_lazy("asked as"))
    def asked_as(self, generation: Generation) -> str:
        return str(KINDS.get(generation.kind, generation.kind))

    @admin.display(description=gettext_lazy("state"))
    def state(self, generation: Any) -> str:
        """How it stands; where it stands still, how that shows."""
        if generation.status == Status.QUEUED:
            return str(generation.get_status_display())
        if generation.status != Status.STREAMING:
            return f"{generation.get_status_display()}: {generation.error_kind}"
        told = [_("being stopped")] if generation.stop_requested else []
        if generation.stands_still:
            told.append(_("its process doesn't answer"))
        silent_s = (timezone.now() - last_word(generation)).total_seconds()
        if silent_s > QUIET_S:
            told.append(_("silent for %(n)d s") % {"n": silent_s})
        if not told:
            return str(generation.get_status_display())
        return format_html('<span class="bad">{}</span>', ", ".join(told))

    @admin.display(description=gettext_lazy("characters"))
    def characters(self, generation: Generation) -> int:
        return brought(generation)

    @admin.display(description=gettext_lazy("characters a second"))
    def speed(self, generation: Any) -> str | None:
        """From its first word to its last."""
        if generation.first_delta_at is None:
            return None
        seconds = (last_word(generation) - generation.first_delta_at).total_seconds()
        return str(number_format(brought(generation) / seconds, 0)) if seconds >= 1 else None

    @admin.display(description=gettext_lazy("conversation"))
    def place(self, generation: Generation) -> str:
        address = reverse("admin:chat_conversation_change", args=[generation.conversation_id])
        return format_html('<a href="{}">{}</a>', address, generation.conversation)

    @admin.display(description="")
    def command(self, generation: Generation) -> str:
        if generation.status not in RUNNING:
            return ""
        address = reverse("admin:chat_generation_stop", args=[generation.pk])
        return format_html(
            '<button form="row-command" formaction="{}" name="stop">{}</button>',
            address,
            _("Stop"),
        )


def brought(generation: Generation) -> int:
    """Characters of this attempt, as far as they are saved."""
    before = generation.base_reasoning + generation.base_text
    return generation.saved_reasoning + generation.saved_text - before


def last_word(generation: Any) -> datetime:
    """When its last checkpoint was, else its claim. By the clock of its process: only to be shown."""
    claimed: datetime = generation.claimed_at
    line = generation.last.strip().rpartition("\n")[2]
    ms = int(line.split()[0]) if line else 0
    return claimed + timedelta(milliseconds=ms)
