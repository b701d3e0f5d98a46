"""What runs now: every reply that is queued or streaming, oldest first."""

from datetime import timedelta
from typing import Any

from django.contrib import admin
from django.contrib.admin.views.main import ChangeList
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from chat.models import Generation, Message

from . import reading
from .read_only import ReadOnlyAdmin

RUNNING = (Message.Status.QUEUED, Message.Status.STREAMING)


class RunningList(ChangeList):
    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        if reading.may_read(request):
            self.result_list = list(self.result_list)
            running = [generation.conversation for generation in self.result_list]
            reading.note(request, reading.What.TITLE, running)


@admin.register(Generation)
class GenerationAdmin(ReadOnlyAdmin):
    list_display = (
        "asked",
        "person",
        "of_model",
        "gateway",
        "kind",
        "status",
        "characters",
        "place",
    )
    list_display_links = None
    list_select_related = ("user", "gateway", "message", "conversation__owner")
    ordering = ("pk",)
    sortable_by = ()

    def get_queryset(self, request: HttpRequest) -> QuerySet[Generation]:
        running = super().get_queryset(request).filter(status__in=RUNNING)
        return running.defer("timings", "message__text", "message__reasoning")

    def get_list_display(self, request: HttpRequest) -> list[str]:
        """Which conversation it is, is for those who may open it."""
        may_read = reading.may_read(request)
        return [name for name in self.list_display if may_read or name != "place"]

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> HttpResponse:
        if reading.may_read(request) and reading.must_say_why(request):
            return reading.ask_why(request)
        return super().changelist_view(request, {"heading": _("Running now")})

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return RunningList

    @admin.display(description=gettext_lazy("running for"))
    def asked(self, generation: Generation) -> timedelta:
        since = timezone.now() - (generation.claimed_at or generation.queued_at)
        return timedelta(seconds=round(since.total_seconds()))

    @admin.display(description=gettext_lazy("owner"))
    def person(self, generation: Generation) -> str:
        return str(generation.user)

    @admin.display(description=gettext_lazy("model"))
    def of_model(self, generation: Generation) -> str:
        return str(generation.message.model)

    @admin.display(description=gettext_lazy("characters"))
    def characters(self, generation: Generation) -> int:
        return generation.saved_reasoning + generation.saved_text

    @admin.display(description=gettext_lazy("conversation"))
    def place(self, generation: Generation) -> str:
        address = reverse("admin:chat_conversation_change", args=[generation.conversation_id])
        return format_html('<a href="{}">{}</a>', address, generation.conversation)
