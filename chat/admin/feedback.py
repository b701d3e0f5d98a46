"""The queue of feedback: thumbs down first, what isn't done before what is; a verdict for each."""

from collections.abc import Iterator
from typing import Any

from django import forms
from django.contrib import admin
from django.contrib import messages as notices
from django.contrib.admin.utils import unquote
from django.core.exceptions import PermissionDenied
from django.db.models import F, QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from chat.models import Feedback, Message
from chat.rendering.thread import shown

from . import reading
from .export import Exporting
from .filters import DaysFilter
from .read_only import ReadOnlyAdmin
from .scores import Scores


class DoneFilter(admin.SimpleListFilter):
    title = gettext_lazy("state")
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        return [("done", _("done")), ("all", _("all"))]

    def choices(self, changelist: Any) -> Any:
        first, *rest = super().choices(changelist)
        return [first | {"display": _("to do")}, *rest]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        if self.value() == "all":
            return queryset
        return queryset.filter(done_at__isnull=self.value() != "done")


class VerdictForm(forms.ModelForm):
    """A verdict, a note, whether it is done."""

    is_done = forms.BooleanField(label=gettext_lazy("Done"), required=False)

    class Meta:
        model = Feedback
        fields = ("verdict", "note")
        widgets = {"note": forms.Textarea(attrs={"rows": 3})}

    def keep(self, reviewer: Any) -> None:
        row, sent = self.instance, self.cleaned_data
        row.reviewer = reviewer
        row.done_at = (row.done_at or timezone.now()) if sent["is_done"] else None
        row.save(update_fields=["verdict", "note", "reviewer", "done_at"])


@admin.register(Feedback)
class FeedbackAdmin(Exporting, ReadOnlyAdmin):
    export_name = "feedback"
    page_template = "admin/feedback.html"
    list_display = ("given", "thumb", "said", "owner", "of_model", "verdict", "reviewer", "done")
    told_when_empty = gettext_lazy("Nothing is left to do.")
    list_display_links = ("given",)
    list_select_related = ("message__conversation__owner", "reviewer")
    list_filter = (DoneFilter, "rating", "verdict", ("created_at", DaysFilter))
    ordering = (F("done_at").desc(nulls_first=True), "rating", "pk")
    sortable_by = ()

    def get_queryset(self, request: HttpRequest) -> QuerySet[Feedback]:
        rows = super().get_queryset(request).defer("message__text", "message__reasoning")
        if reading.may_see_deleted(request):
            return rows
        return rows.filter(message__deleted_at=None, message__conversation__deleted_at=None)

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> HttpResponse:
        return super().changelist_view(request, {"heading": _("Feedback")})

    def get_list_display(self, request: HttpRequest) -> list[str]:
        return [n for n in self.list_display if n != "said" or reading.may_read(request)]

    def export_rows(
        self, request: HttpRequest, batch: list[Feedback], form: str
    ) -> Iterator[dict[str, Any]]:
        with_words = reading.may_read(request)
        if with_words:
            talks = {row.message.conversation_id: row.message.conversation for row in batch}
            reading.note(request, reading.What.EXPORT, talks.values())
        for row in batch:
            yield {
                "id": row.pk,
                "given_at": row.created_at.isoformat(),
                "rating": row.rating,
                **({"comment": row.comment} if with_words else {}),
                "owner": self.owner(row),
                "conversation": str(row.message.conversation.uuid),
                "message": str(row.message.uuid),
                "model": row.message.model,
                "verdict": row.verdict,
                **({"note": row.note} if with_words else {}),
                "reviewer": row.reviewer and row.reviewer.username,
                "done_at": row.done_at and row.done_at.isoformat(),
            }

    @reading.readers_only
    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: Any = None
    ) -> HttpResponse:
        """The reply with what was said of it; a POST is the verdict."""
        if request.method != "POST":
            return super().change_view(request, object_id, form_url, extra_context)
        if not request.user.has_perm("chat.change_feedback"):
            raise PermissionDenied
        row = self.get_object(request, unquote(object_id))
        if row is None:
            raise Http404
        form = VerdictForm(request.POST, instance=row, label_suffix="")
        if not form.is_valid():
            return self.page(request, row, form=form)
        form.keep(request.user)
        notices.success(request, _("The verdict is kept."))
        return redirect("admin:chat_feedback_changelist")

    def page_context(self, request: HttpRequest, row: Feedback) -> dict[str, Any]:
        conversation = row.message.conversation
        reading.note(request, reading.What.FEEDBACK, [conversation])
        pks = [row.message.parent_id, row.message_id]
        pair = Message.objects.filter(pk__in=pks).for_display().select_related("conversation")
        return {
            "feedback": row,
            "thread": shown(pair.order_by("pk"), is_read_only=True),
            "conversation": conversation,
            "scores": Scores(request).of(row.message),
            "form": VerdictForm(
                instance=row, initial={"is_done": row.done_at is not None}, label_suffix=""
            ),
            "title": _("Feedback"),
        }

    # --- columns ------------------------------------------------------------------------------

    @admin.display(description=gettext_lazy("given"))
    def given(self, row: Feedback) -> Any:
        return row.created_at

    @admin.display(description=gettext_lazy("rating"))
    def thumb(self, row: Feedback) -> str:
        return str(row.get_rating_display())

    @admin.display(description=gettext_lazy("comment"))
    def said(self, row: Feedback) -> str:
        return row.comment[:200]

    @admin.display(description=gettext_lazy("owner"))
    def owner(self, row: Feedback) -> str:
        return str(row.message.conversation.owner)

    @admin.display(description=gettext_lazy("model"))
    def of_model(self, row: Feedback) -> str:
        return str(row.message.model)

    @admin.display(description=gettext_lazy("done"))
    def done(self, row: Feedback) -> Any:
        return row.done_at
