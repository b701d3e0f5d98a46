"""The chat page, and what a person does with a conversation as a whole."""

import logging
import uuid
from typing import Any

from django.conf import settings
from django.db import DatabaseError
from django.db.models import prefetch_related_objects
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST, require_safe

from chat.models import Command, Conversation, Gateway, Message, retention
from chat.models.language_models import offers, preferred
from chat.models.messages import beside
from chat.rendering import usage
from chat.rendering.export import as_json
from chat.rendering.thread import shown
from chat.replies.forecast import Forecast, forecast

from .. import limits, window
from ..access import for_conversation, is_mine, member_only, see_other
from ..forms import SendForm
from ..middleware import refuse
from ..parameters import StartForm
from ..sidebar import Listing, listing

logger = logging.getLogger(__name__)


@member_only
@require_safe
def home(request: HttpRequest) -> HttpResponse:
    """A new chat; with ?undo= after a deletion, which may be taken back there."""
    return page(request, None, model=request.GET.get("model", ""), deleted=_undoable(request))


def _undoable(request: HttpRequest) -> Conversation | None:
    try:
        wanted = uuid.UUID(request.GET.get("undo", ""))
    except ValueError:
        return None
    return request.user.conversations.restorable().filter(uuid=wanted).first()


@for_conversation("GET")
def conversation(request: HttpRequest, conversation: Conversation) -> HttpResponse:
    """The whole page; for htmx, which has a part of the messages, what comes before or after."""
    if request.htmx and ("before" in request.GET or "after" in request.GET):
        return _part(request, conversation)
    if conversation.is_unread:
        _mark_read(conversation)
    return page(request, conversation)


def _mark_read(conversation: Conversation) -> None:
    """To open it is to read it, without a script too; what can't be written can still be read."""
    try:
        conversation.mark_read(conversation.version)
    except DatabaseError as error:
        logger.warning("Conversation %d could not be marked as read: %s", conversation.pk, error)


def _part(request: HttpRequest, conversation: Conversation) -> HttpResponse:
    part = window.asked_for(request.GET, conversation)
    if part is None:
        # The branch has become another one, and the socket is about to say so.
        return HttpResponse(status=204)
    edge = "earlier" if "before" in request.GET else "later"
    response = render(request, "_part.html", part.context | {"edge": edge})
    response["Potok-Version"] = conversation.version
    return response


@member_only
@require_POST
def start(request: HttpRequest) -> HttpResponse:
    """The first question of a new conversation."""
    form = StartForm(request.POST, user=request.user)
    if not form.is_valid():
        return _refused(request, None, form)
    sent = form.cleaned_data
    gateway, model = form.destination
    asked = form.asked

    def ask() -> Message:
        limits.check(request.user, form.destination, sent["text"], asked=asked)
        return Conversation.start(request.user, sent["text"], model, gateway, asked)

    try:
        reply = Command.once(
            ask,
            user=request.user,
            name="start",
            key=sent["client_key"],
            content=[sent["text"], sent["model"], sent["gateway"], *(asked or ())],
        )
    except limits.LIMITS as error:
        return over_limit(request, error, None, form)
    return _sent(request, reply, is_new=True)


@for_conversation("POST")
def send(request: HttpRequest, conversation: Conversation) -> HttpResponse:
    """One more question, at the end of the branch that the page shows."""
    form = SendForm(request.POST, user=request.user)
    if not form.is_valid():
        return _refused(request, conversation, form)
    sent = form.cleaned_data
    if sent["parent"] and not is_mine(conversation, sent["parent"]):
        raise Http404
    gateway, model = form.destination

    def ask() -> Message:
        limits.check(request.user, form.destination, sent["text"], conversation)
        return conversation.send(sent["text"], model, gateway, sent["parent"])

    try:
        reply = Command.once(
            ask,
            user=request.user,
            name="send",
            target=conversation.uuid,
            key=sent["client_key"],
            content=[sent["text"], sent["model"], sent["gateway"]],
        )
    except limits.LIMITS as error:
        return over_limit(request, error, conversation, form)
    return _sent(request, reply)


@member_only
@require_POST
def forecast_of_new(request: HttpRequest) -> HttpResponse:
    """About what the first question of a new conversation would cost; nothing is sent."""
    return _forecast(request, None, StartForm(request.POST, user=request.user))


@for_conversation("POST")
def forecast_here(request: HttpRequest, conversation: Conversation) -> HttpResponse:
    """The same for one more question."""
    return _forecast(request, conversation, SendForm(request.POST, user=request.user))


def _forecast(
    request: HttpRequest, conversation: Conversation | None, form: SendForm
) -> HttpResponse:
    found = None
    if form.is_valid():
        text, asked = form.cleaned_data["text"], getattr(form, "asked", None)
        found = forecast(request.user, form.destination, text, conversation, asked)
    if request.htmx:
        context = {"forecast": found, "limits": limits.near(request.user), "is_news": True}
        return render(request, "_forecasts.html", context)
    return page(request, conversation, sent=form, forecast=found)


@for_conversation("GET")
def export(request: HttpRequest, conversation: Conversation) -> HttpResponse:
    return JsonResponse(as_json(conversation), json_dumps_params={"ensure_ascii": False})


def held() -> str:
    return _("A legal hold stands on this conversation. While it does, nothing of it is deleted.")


def refused(
    request: HttpRequest, status: int, sentence: str, conversation: Conversation
) -> HttpResponse:
    """The same page with the sentence in it; for htmx, which has the page, the sentence alone."""
    if request.htmx:
        return refuse(request, status, sentence)
    return page(request, conversation, alert=sentence, status=status)


def over_limit(
    request: HttpRequest,
    error: limits.Over,
    conversation: Conversation | None,
    sent: SendForm | None = None,
) -> HttpResponse:
    """Which limit, how much, until when, whom to ask; what was written is kept."""
    status, sentence, advice, wait_s = limits.told(error)
    if request.htmx:
        return refuse(request, status, sentence, wait_s, advice)
    if conversation is not None:
        conversation.refresh_from_db()  # what was about to change in it was undone
    response = page(request, conversation, sent=sent, alert=sentence, advice=advice, status=status)
    if wait_s is not None:
        response["Retry-After"] = str(wait_s)
    return response


def page(
    request: HttpRequest,
    conversation: Conversation | None,
    *,
    listed: Listing | None = None,
    deleted: Conversation | None = None,
    model: str = "",
    sent: SendForm | None = None,
    alert: str = "",
    advice: str = "",
    forecast: Forecast | None = None,
    status: int = 200,
) -> HttpResponse:
    """The whole page. With `sent`, a form that was not taken: its text and its error are kept."""
    part = None
    if conversation is not None:
        part = window.asked_for(request.GET, conversation) or window.newest(conversation)
    rows = part.rows if part else []
    thread = shown(rows)
    used = next((row for row in reversed(rows) if row.model), None)
    # As the conversation goes on, or as its owner likes to begin one.
    name, gateway = (used.model, used.gateway) if used else ("", None)
    if conversation is None and not model and (chosen := preferred(request.user)):
        gateway, name = chosen
    composer: dict[str, Any] = {
        "action": conversation.get_absolute_url() + "messages/" if conversation else "/messages/",
        "text": sent["text"].value() or "" if sent else "",
        "model": (sent["model"].value() or "") if sent else model or name,
        "gateway": gateway.slug if gateway and not sent else "",
        "client_key": str(uuid.uuid4()),
        "parent": str(rows[-1].uuid) if rows else "",
        "alert": alert or (sent.first_error() if sent else ""),
        "advice": advice,
    }
    offered = offers(request.user)
    context = {
        "conversation": conversation,
        "window": part,
        "newest": window.MESSAGES,
        "total": usage.of_conversation(conversation) if conversation else None,
        "thread": thread,
        "sidebar": listed or listing(request.user),
        "sidebar_version": request.user.version,
        "deleted": deleted,
        "kept": retention.rule_of(request.user) if deleted else None,
        "composer": composer,
        "forecast": forecast,
        "limits": limits.near(request.user),
        "offers": offered,
        "has_gateway": bool(offered) or Gateway.objects.usable().exists(),
        "is_running": any(m.is_open and not m.is_held for m in thread),
        "compose": "compose" in request.GET or sent is not None,
        "max_chars": settings.MAX_MESSAGE_CHARS,
    }
    return render(request, "chat.html", context, status=status)


def _refused(
    request: HttpRequest, conversation: Conversation | None, form: SendForm
) -> HttpResponse:
    if form.names_unknown_parent:
        raise Http404
    if request.htmx:
        return refuse(request, 422, form.first_error())
    return page(request, conversation, sent=form, status=422)


def _sent(request: HttpRequest, reply: Message, is_new: bool = False) -> HttpResponse:
    conversation = reply.conversation
    if not request.htmx:
        return see_other(conversation)
    # As it was recorded just now: what has become of it since is the socket's to tell.
    pair = [reply.parent, reply]
    prefetch_related_objects(pair, *beside())
    context = {
        "thread": shown(pair),
        "conversation": conversation,
        "is_new": is_new,
    }
    response = render(request, "_sent.html", context)
    if is_new:
        response["HX-Push-Url"] = conversation.get_absolute_url()
    return response
