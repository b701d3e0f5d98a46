"""The list of conversations, and what a person does with one as a whole."""

from typing import Any

from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_safe

from chat.models import Conversation, retention
from chat.models.conversations import Conflict, Held

from ..access import for_conversation, member_only, see_other
from ..forms import ReadForm, RenameForm
from ..sidebar import NoPlace, line_of, listing
from .chat import held, page, refused


@member_only
@require_safe
def conversations(request: HttpRequest) -> HttpResponse:
    """The list from its top, or what comes in it after the place `before`."""
    before = request.GET.get("before", "")
    try:
        listed = listing(request.user, before)
    except NoPlace:
        raise Http404 from None
    if not request.htmx:
        return page(request, None, listed=listed)
    template = "_lines.html" if before else "_sidebar.html"
    return render(request, template, {"sidebar": listed, "lines": listed.lines})


@for_conversation("POST")
def rename(request: HttpRequest, conversation: Conversation) -> HttpResponse:
    form = RenameForm(request.POST)
    if not form.is_valid():
        return refused(request, 422, str(form.errors["title"][0]), conversation)
    title = form.cleaned_data["title"]
    # A page may send back what it shows, where hidden characters are named: that is no other title.
    conversation.rename(conversation.title if title == conversation.shown_title else title)
    return _line(request, conversation)


@for_conversation("POST")
def pin(request: HttpRequest, conversation: Conversation) -> HttpResponse:
    """Keep it above the others, or with `pinned` 0 no longer."""
    try:
        conversation.pin(request.POST.get("pinned") != "0")
    except Conflict:
        sentence = _("That many are pinned already. Unpin one first.")
        return refused(request, 409, sentence, conversation)
    return _line(request, conversation)


@for_conversation("POST")
def read(request: HttpRequest, conversation: Conversation) -> HttpResponse:
    """It has been seen as it was at `version`."""
    form = ReadForm(request.POST)
    if form.is_valid():
        conversation.mark_read(min(form.cleaned_data["version"], conversation.version))
    return _line(request, conversation)


@for_conversation("GET", "POST")
def delete(request: HttpRequest, conversation: Conversation) -> HttpResponse:
    """Hide it, and offer to undo that; a link without a form leads to the question."""
    kept = retention.rule_of(request.user)
    if request.method != "POST":
        return render(request, "delete.html", {"conversation": conversation, "kept": kept})
    try:
        conversation.delete_for_owner()
    except Held:
        return refused(request, 409, held(), conversation)
    home = f"{reverse('home')}?undo={conversation.uuid}"
    if not request.htmx:
        return see_other(home)
    if request.htmx.current_url_abs_path == conversation.get_absolute_url():
        return HttpResponse(headers={"HX-Redirect": home})
    return render(request, "_deleted.html", {"deleted": conversation, "kept": kept})


@for_conversation("POST", deleted=True)
def restore(request: HttpRequest, conversation: Conversation) -> HttpResponse:
    """Undo its deletion."""
    conversation.restore()
    if request.htmx and "undo=" in (request.htmx.current_url_abs_path or ""):
        # Its deletion led away from it, so this leads back.
        return HttpResponse(headers={"HX-Redirect": conversation.get_absolute_url()})
    return _line(request, conversation, is_restored=True)


def _line(request: HttpRequest, conversation: Conversation, **more: Any) -> HttpResponse:
    """Its line in the sidebar anew; without htmx, the conversation."""
    if not request.htmx:
        return see_other(conversation)
    return render(request, "_line.html", {"lines": line_of(conversation), **more})
