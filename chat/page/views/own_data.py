"""What a person does with all that is theirs: take it away, delete every conversation, be erased."""

from django.contrib.auth import logout
from django.db import DatabaseError
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods, require_safe

from chat.models import Conversation, Erasure, erasure, residue, retention
from chat.models.conversations import Held
from chat.models.read_log import pseudonym
from chat.rendering import takeout
from chat.security import note

from ..access import member_only
from ..proof import ProofForm


@member_only
@require_safe
def take_out(request: HttpRequest) -> HttpResponse:
    """All that is kept of them, in one archive."""
    if request.method == "HEAD":
        return HttpResponse(content_type="application/zip")
    note("person_exported", user=request.user.username)
    return takeout.answer(request.user)


@member_only
@require_http_methods(["GET", "HEAD", "POST"])
def delete_conversations(request: HttpRequest) -> HttpResponse:
    """GET: how many there are; POST: they go out of sight, but for those that are held."""
    context = {"kept": retention.rule_of(request.user)}
    if request.method != "POST":
        context["count"] = request.user.conversations.alive().count()
        return render(request, "delete_conversations.html", context)
    context["held"] = Conversation.delete_all_of(request.user)
    return render(request, "delete_conversations.html", context | {"is_done": True})


@sensitive_post_parameters()
@member_only
@require_http_methods(["GET", "HEAD", "POST"])
def delete_account(request: HttpRequest) -> HttpResponse:
    """Be erased, with everything, for good; asks for the password."""
    form = ProofForm(request.POST or None, request)
    if request.method != "POST":
        return render(request, "delete_account.html", {"form": form})
    if not form.is_valid():
        return render(request, "delete_account.html", {"form": form}, status=form.status)
    try:
        receipt = erasure.erase(request.user, by=request.user)
    except Held:
        alert = _("A legal hold stands on what is yours. While it does, nothing is erased.")
        return render(request, "delete_account.html", {"form": form, "alert": alert}, status=409)
    except erasure.LastOwner:
        alert = _("You are the last owner; make somebody else an owner first.")
        return render(request, "delete_account.html", {"form": form, "alert": alert}, status=409)
    note("person_erased", key=pseudonym(receipt.key))
    logout(request)
    _clean_files()
    response = redirect("login")
    # Drafts are kept in the browser, where nothing else reaches them.
    response["Clear-Site-Data"] = '"storage"'
    return response


def _clean_files() -> None:
    """At once if that can be; else the process does it within the hour."""
    try:
        Erasure.clean_files()
    except (DatabaseError, residue.Busy):
        return
