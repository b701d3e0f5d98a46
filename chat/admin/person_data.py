"""A person's data as a whole: taken away as an archive, or erased with a receipt."""

from typing import Any

from django import forms
from django.contrib import messages as notices
from django.contrib.admin.utils import unquote
from django.core.exceptions import PermissionDenied, ValidationError
from django.db import DatabaseError
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.urls import path
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from chat import security
from chat.models import Erasure, User, erasure, residue
from chat.models.conversations import Held
from chat.models.read_log import pseudonym
from chat.rendering import takeout

from . import reading


class EraseForm(forms.Form):
    username = forms.CharField(label=gettext_lazy("Their name, to be sure"))

    def __init__(self, *args: Any, person: User, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.person = person
        self.fields["username"].widget.attrs |= {"autocomplete": "off", "spellcheck": "false"}
        if self.errors:
            # The page is a new one: whoever types goes on where they were.
            self.fields["username"].widget.attrs["autofocus"] = True

    def clean_username(self) -> str:
        if self.cleaned_data["username"].strip() != self.person.username:
            raise ValidationError(_("That is not the name of this person."))
        return self.person.username


class PersonData:
    """For the admin of people: `<id>/data.zip` and `<id>/erase/`."""

    change_form_template = "admin/person.html"

    def get_urls(self) -> list[Any]:
        guarded = self.admin_site.admin_view
        return [
            path("<path:object_id>/data.zip", guarded(self.take_out), name="chat_user_data"),
            path("<path:object_id>/erase/", guarded(self.erase), name="chat_user_erase"),
            *super().get_urls(),
        ]

    def render_change_form(self, request: HttpRequest, context: Any, **kwargs: Any) -> Any:
        person = kwargs.get("obj")
        context["may_erase"] = person is not None and self._may_erase(request, person)
        context["may_take_out"] = person is not None and may_take_out(request)
        context["holds"] = erasure.holds_on(person) if person is not None else []
        return super().render_change_form(request, context, **kwargs)

    def take_out(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """All that is theirs as a zip; each batch of conversations is logged before it leaves."""
        if request.method != "GET" or not may_take_out(request):
            raise PermissionDenied
        person = self._person(request, object_id)
        if reading.must_say_why(request):
            return reading.ask_why(request)
        security.note("person_exported", user=person.username)
        return takeout.answer(
            person, lambda batch: reading.note(request, reading.What.EXPORT, batch)
        )

    def erase(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """What would go; a POST with their name has it go."""
        person = self._person(request, object_id)
        if not self._may_erase(request, person):
            raise PermissionDenied
        form = EraseForm(request.POST or None, person=person, label_suffix="")
        if request.method == "POST" and form.is_valid():
            try:
                receipt = erasure.erase(person, by=request.user)
            except (Held, erasure.LastOwner):
                pass  # the page says so
            else:
                return self._erased(request, receipt)
        context = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "title": _("Erase %(name)s") % {"name": person.username},
            "person": person,
            "form": form,
            **erasure.preview(person),
        }
        status = 422 if form.errors else 409 if request.method == "POST" else 200
        return TemplateResponse(request, "admin/erase.html", context, status=status)

    def _erased(self, request: HttpRequest, receipt: Erasure) -> HttpResponse:
        security.note("person_erased", key=pseudonym(receipt.key))
        if receipt.is_by_themselves:
            clean_files()
            return redirect("login")
        if clean_files():
            notices.success(request, _("Erased. The database's files hold nothing of it."))
        else:
            notices.warning(
                request, _("Erased. The database's files are cleaned as soon as that can be done.")
            )
        return redirect("admin:chat_erasure_change", receipt.pk)

    def _person(self, request: HttpRequest, object_id: str) -> User:
        person = self.get_object(request, unquote(object_id))
        if person is None:
            raise Http404
        return person

    def _may_erase(self, request: HttpRequest, person: User) -> bool:
        """Nobody erases somebody who may do more than they."""
        may_change = self.has_change_permission(request, person)
        return may_change and request.user.has_perm("chat.erase_user")


def may_take_out(request: HttpRequest) -> bool:
    """It holds their words, so who may not read may not."""
    return reading.may_read(request) and request.user.has_perm("chat.export_user")


def clean_files() -> bool:
    """At once if that can be; else the process does it within the hour."""
    try:
        Erasure.clean_files()
    except (DatabaseError, residue.Busy):
        return False
    return True
