"""Scores: the scales that administrators define, what reviewers give replies on them, where it shows."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from django import forms
from django.contrib import admin
from django.core.exceptions import PermissionDenied, ValidationError
from django.db.models import Exists, OuterRef, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseBadRequest
from django.shortcuts import get_object_or_404, redirect
from django.urls import path, reverse
from django.utils.http import url_has_allowed_host_and_scheme
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from chat.models import Conversation, Message, Scale, Score

from . import reading

MOST_VALUES = 101
MOST_LABELS = 20


class LabelsField(forms.CharField):
    """A label a line."""

    widget = forms.Textarea

    def prepare_value(self, value: Any) -> Any:
        return "\n".join(map(str, value)) if isinstance(value, list) else value

    def to_python(self, value: Any) -> Any:
        return [line.strip()[:50] for line in str(value or "").splitlines() if line.strip()]

    def has_changed(self, initial: Any, typed: Any) -> bool:
        return bool(self.to_python(typed) != (initial or []))


class ScaleForm(forms.ModelForm):
    labels = LabelsField(
        label=gettext_lazy("Labels"),
        required=False,
        help_text=gettext_lazy(
            "Instead of numbers: one a line, such as 'no' and 'yes'. Add new ones at the end."
        ),
    )

    class Meta:
        model = Scale
        fields = ("name", "meaning", "low", "high", "labels")

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or self.cleaned_data
        labels, low, high = (cleaned.get(name) for name in ("labels", "low", "high"))
        if labels:
            if not 2 <= len(labels) <= MOST_LABELS or len(set(labels)) != len(labels):
                told = _("From 2 to %(most)d labels, each another.") % {"most": MOST_LABELS}
                self.add_error("labels", told)
        elif low is not None and high is not None and not low < high < low + MOST_VALUES:
            raise ValidationError(_("The highest is above the lowest, by no more than 100."))
        return cleaned


@admin.register(Scale)
class ScaleAdmin(admin.ModelAdmin):
    form = ScaleForm
    list_display = ("name", "values", "meaning")
    told_when_empty = gettext_lazy(
        "No scales yet. With one, reviewers give replies a number or a label."
    )
    actions = None
    sortable_by = ()

    @admin.display(description=gettext_lazy("values"))
    def values(self, scale: Scale) -> str:
        if scale.labels:
            return ", ".join(map(str, scale.labels))
        return f"{scale.low}–{scale.high}"


@dataclass
class OnScale:
    scale: Scale
    mine: int | None

    @property
    def field(self) -> str:
        return f"scale-{self.scale.pk}"


@dataclass
class OfReply:
    """What was given to a reply; and, for who may give, each scale with what they gave."""

    message: Message
    given: list[Any] = field(default_factory=list)
    scales: list[OnScale] = field(default_factory=list)


class Scores:
    """The scores of replies as this reader sees them; the scales are asked for once."""

    def __init__(self, request: HttpRequest) -> None:
        self._reviewer = request.user
        self._may_give = request.user.has_perm("chat.change_feedback")

    @cached_property
    def _scales(self) -> list[Scale]:
        return list(Scale.objects.all())

    def of(self, message: Message) -> OfReply:
        """With `scores__reviewer` fetched beforehand this asks nothing."""
        if not message.is_reply or message.is_open:
            return OfReply(message)
        by_name = {scale.name: scale for scale in self._scales}
        given: list[Any] = list(message.scores.all())
        for score in given:
            scale = by_name.get(score.name)
            score.told = scale.told(score.value) if scale else str(score.value)
        mine = {s.name: s.value for s in given if s.reviewer_id == self._reviewer.pk}
        scales = [OnScale(scale, mine.get(scale.name)) for scale in self._scales]
        return OfReply(message, given, scales if self._may_give else [])


class Scoring:
    """For the admin of conversations: a POST to `<id>/score/<message>/`."""

    def get_urls(self) -> list[Any]:
        view = self.admin_site.admin_view(self.score)
        place = path("<int:pk>/score/<uuid:message>/", view, name="chat_conversation_score")
        return [place, *super().get_urls()]

    @reading.readers_only
    def score(self, request: HttpRequest, pk: int, message: Any) -> HttpResponse:
        """What a reviewer gives a reply, by the keys of scales; one that isn't sent stays."""
        if request.method != "POST" or not request.user.has_perm("chat.change_feedback"):
            raise PermissionDenied
        conversation = get_object_or_404(self.get_queryset(request), pk=pk)
        replies = conversation.messages.filter(role=Message.Role.ASSISTANT)
        if not reading.may_see_deleted(request):
            replies = replies.filter(deleted_at=None)
        reply = get_object_or_404(replies, uuid=message)
        given: dict[str, int | None] = {}
        for scale in Scale.objects.all():
            typed = request.POST.get(OnScale(scale, None).field)
            if typed is None:
                continue
            values = {str(value): value for value, _label in scale.options}
            if typed and typed not in values:
                return HttpResponseBadRequest()
            given[scale.name] = values.get(typed)
        Score.give(reply, request.user, given)
        goal = request.POST.get("next", "")
        if not url_has_allowed_host_and_scheme(goal, None) or not goal.startswith("/"):
            goal = reverse("admin:chat_conversation_change", args=[pk]) + f"#m-{reply.uuid}"
        return redirect(goal)


class ScoreFilter(admin.SimpleListFilter):
    title = gettext_lazy("score")
    parameter_name = "score"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        found = []
        for scale in Scale.objects.all():
            found.append((str(scale.pk), scale.name))
            if len(scale.options) <= MOST_LABELS:
                found += [
                    (f"{scale.pk}.{value}", f"{scale.name}: {label}")
                    for value, label in scale.options
                ]
        return found

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        if not self.value():
            return queryset
        pk, _dot, value = self.value().partition(".")
        scale = Scale.objects.filter(pk=int(pk)).first() if pk.isdecimal() else None
        options = {str(each): each for each, _label in scale.options} if scale else {}
        if scale is None or (value and value not in options):
            return queryset.none()
        scores = Score.objects.filter(message__conversation=OuterRef("pk"), name=scale.name)
        if value:
            scores = scores.filter(value=options[value])
        return queryset.filter(Exists(scores))


def exported(
    conversations: Iterable[Conversation], form: str, *, with_names: bool
) -> dict[int, list[Any]]:
    """Of each conversation its scores: objects for JSONL, in words for a spreadsheet."""
    scales = {scale.name: scale for scale in Scale.objects.all()}
    rows = Score.objects.filter(message__conversation__in=list(conversations))
    found: dict[int, list[Any]] = {}
    for row in rows.select_related("message", "reviewer").order_by("pk"):
        scale = scales.get(row.name)
        told = scale.told(row.value) if scale else str(row.value)
        reviewer = row.reviewer.username if row.reviewer and with_names else None
        facts = {
            "message": str(row.message.uuid),
            "name": row.name,
            "value": row.value,
            "label": told,
            "reviewer": reviewer,
            "at": row.created_at.isoformat(),
        }
        line = f"{row.name}: {told} ({reviewer})" if reviewer else f"{row.name}: {told}"
        scored = found.setdefault(row.message.conversation_id, [])
        scored.append(facts if form == "jsonl" else line)
    return found
