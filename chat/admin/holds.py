"""Legal holds: placed on a person or a conversation, seen, lifted; never taken out of the list."""

from typing import Any
from uuid import UUID

from django import forms
from django.contrib import admin
from django.contrib import messages as notices
from django.contrib.admin.utils import unquote
from django.core.exceptions import PermissionDenied, ValidationError
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from chat import security
from chat.models import Conversation, Hold, User

from .read_only import ReadOnlyAdmin


class StandingFilter(admin.SimpleListFilter):
    title = gettext_lazy("state")
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        return [("standing", _("standing")), ("lifted", _("lifted"))]

    def queryset(self, request: HttpRequest, queryset: Any) -> Any:
        if self.value() in ("standing", "lifted"):
            return queryset.filter(lifted_at__isnull=self.value() == "standing")
        return queryset


class HoldForm(forms.ModelForm):
    """On what it is placed is typed: a list of all people or conversations would be too long."""

    person = forms.CharField(
        label=gettext_lazy("Person"),
        required=False,
        help_text=gettext_lazy("The name they log in by; all they have is held."),
    )
    conversation = forms.CharField(
        label=gettext_lazy("Conversation"),
        required=False,
        help_text=gettext_lazy("Instead: its number in the list, or the id in its address."),
    )

    class Meta:
        model = Hold
        fields = ("person", "conversation", "why")

    def clean_person(self) -> User | None:
        if not (name := self.cleaned_data["person"].strip()):
            return None
        person = User.objects.filter(username=name).first()
        if person is None:
            raise ValidationError(_("There is no such person."))
        return person

    def clean_conversation(self) -> Conversation | None:
        if not (typed := self.cleaned_data["conversation"].strip()):
            return None
        try:
            named = {"pk": int(typed)} if typed.isdecimal() else {"uuid": UUID(typed)}
            found = Conversation.objects.filter(**named).first()
        except (ValueError, OverflowError):
            found = None
        if found is None:
            raise ValidationError(_("There is no such conversation."))
        return found

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or self.cleaned_data
        named = [cleaned.get("person"), cleaned.get("conversation")]
        if not self.errors and (not any(named) or all(named)):
            raise ValidationError(_("Name a person or a conversation, one of them."))
        return cleaned


@admin.register(Hold)
class HoldAdmin(ReadOnlyAdmin):
    form = HoldForm
    page_template = "admin/hold.html"
    list_display = ("placed_at", "on", "why", "placed_by", "lifted_at", "lifted_by")
    told_when_empty = gettext_lazy("No hold was ever placed: everything can be deleted.")
    list_select_related = ("person", "placed_by", "lifted_by")
    list_filter = (StandingFilter,)
    sortable_by = ()

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return request.user.has_perm("chat.add_hold")

    def save_model(self, request: HttpRequest, obj: Hold, form: Any, change: bool) -> None:
        on = {name: form.cleaned_data[name] for name in ("person", "conversation")}
        hold = Hold.place(obj.why, request.user, **{k: v for k, v in on.items() if v})
        obj.pk = hold.pk
        security.note("hold_placed", **_told(hold))

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: Any = None
    ) -> HttpResponse:
        """Its page; a POST lifts it."""
        if request.method != "POST":
            return super().change_view(request, object_id, form_url, extra_context)
        if not request.user.has_perm("chat.change_hold"):
            raise PermissionDenied
        hold = self.get_object(request, unquote(object_id))
        if hold is None:
            raise Http404
        hold.lift(request.user)
        security.note("hold_lifted", **_told(hold))
        notices.success(request, _("The hold is lifted. From now on the rules apply again."))
        return redirect("admin:chat_hold_changelist")

    def page_context(self, request: HttpRequest, row: Hold) -> dict[str, Any]:
        return {"hold": row, "on": self.on(row), "title": _("Legal hold")}

    @admin.display(description=gettext_lazy("on"))
    def on(self, hold: Hold) -> str:
        if hold.person:
            return str(hold.person)
        return _("conversation %(n)s") % {"n": hold.conversation_id}


def _told(hold: Any) -> dict[str, Any]:
    if hold.person:
        return {"hold": hold.pk, "user": hold.person.username}
    return {"hold": hold.pk, "conversation": str(hold.conversation.uuid)}
