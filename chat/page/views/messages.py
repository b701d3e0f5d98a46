"""What a person does with one message: `POST /m/<uuid>/<command>/`."""

import uuid
from collections.abc import Callable

from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.utils.translation import gettext as _

from chat.models import Command, Message, Revision, retention
from chat.models.conversations import Conflict, Held
from chat.models.language_models import Destination, offers
from chat.models.revisions import fork as make_fork
from chat.rendering import pictures
from chat.rendering.clean import clean_user
from chat.rendering.thread import shown

from .. import limits, window
from ..access import for_message, see_other
from ..forms import CommandForm, PlaceForm, SendForm, TextForm
from ..middleware import refuse
from .chat import held, over_limit, refused


def _once(
    request: HttpRequest, name: str, message: Message, key: str, run: Callable[[], Message]
) -> Message:
    return Command.once(
        run,
        user=request.user,
        name=name,
        target=message.uuid,
        key=key,
        content=[request.POST.get(field, "") for field in ("text", "model", "gateway", "place")],
    )


def _check(request: HttpRequest, message: Message, place: Destination | None = None) -> None:
    """Raises OverBudget where this reply's model, or another one, can't be paid to answer again."""
    if place is None and message.gateway is not None:
        place = Destination(message.gateway, message.model)
    if place is not None:
        limits.check(request.user, place, "", message.conversation)


def _article(request: HttpRequest, message: Message) -> HttpResponse:
    """The message as it is now."""
    if not request.htmx:
        return see_other(message.conversation)
    rows = Message.objects.filter(pk=message.pk, deleted_at=None).for_display()
    thread = shown(rows.select_related("conversation"))
    return render(request, "_thread.html", {"thread": thread})


def _thread(request: HttpRequest, message: Message) -> HttpResponse:
    """The branch, which has become another one, as far as the page held it."""
    if not request.htmx:
        return see_other(message.conversation)
    # Together: what changed after this version the socket brings, another last message too.
    message.conversation.refresh_from_db(fields=["version", "leaf"])
    part = window.anew(message.conversation, window.held(request), message.uuid)
    response = render(request, "_part.html", part.context)
    response["Potok-Version"] = message.conversation.version
    return response


def _moved_on() -> str:
    return _("The conversation has moved on; this no longer fits it.")


@for_message("POST")
def stop(request: HttpRequest, message: Message) -> HttpResponse:
    message.stop()
    return _article(request, message)


@for_message("POST")
def retry(request: HttpRequest, message: Message) -> HttpResponse:
    form = CommandForm(request.POST)
    if not form.is_valid():
        return refused(request, 422, form.first_error(), message.conversation)

    def again() -> Message:
        # What waits already is weighed when its turn comes.
        if not message.is_open:
            _check(request, message)
        return message.retry()

    try:
        reply = _once(request, "retry", message, form.cleaned_data["client_key"], again)
    except Held:
        return refused(request, 409, held(), message.conversation)
    except Conflict:
        return refused(request, 409, _moved_on(), message.conversation)
    except limits.LIMITS as error:
        return over_limit(request, error, message.conversation)
    return _thread(request, reply)


@for_message("GET", "POST")
def regenerate(request: HttpRequest, message: Message) -> HttpResponse:
    """GET: by which model; POST: another version of the reply, by the same one unless one is named."""
    if request.method != "POST":
        context = {"message": message, "client_key": str(uuid.uuid4())}
        if request.htmx:
            return render(request, "_regenerate.html", context)
        # Without a script there is nothing that could look through the page's list.
        return render(request, "regenerate.html", context | {"offers": offers(request.user)})
    form = PlaceForm(request.POST, user=request.user)
    if not form.is_valid():
        return refused(request, 422, form.first_error(), message.conversation)
    sent = form.cleaned_data
    is_chosen = sent["model"] or sent["gateway"]
    gateway, model = form.destination if is_chosen else (None, "")

    def anew() -> Message:
        _check(request, message, form.destination if is_chosen else None)
        return message.regenerate(model, gateway)

    try:
        reply = _once(request, "regenerate", message, sent["client_key"], anew)
    except Conflict:
        return refused(request, 409, _moved_on(), message.conversation)
    except limits.LIMITS as error:
        return over_limit(request, error, message.conversation)
    return _thread(request, reply)


@for_message("POST")
def go_on(request: HttpRequest, message: Message) -> HttpResponse:
    form = CommandForm(request.POST)
    if not form.is_valid():
        return refused(request, 422, form.first_error(), message.conversation)

    def on() -> Message:
        _check(request, message)
        return message.go_on()

    try:
        reply = _once(request, "continue", message, form.cleaned_data["client_key"], on)
    except Conflict:
        return refused(request, 409, _moved_on(), message.conversation)
    except limits.LIMITS as error:
        return over_limit(request, error, message.conversation)
    return _article(request, reply)


@for_message("GET", "POST")
def edit(request: HttpRequest, message: Message) -> HttpResponse:
    """GET: a form over the message; POST: the question anew, in place of one that still waits.

    A reply only gets other words.
    """
    if request.method != "POST":
        return _form(request, message)
    if message.is_reply:
        return _rewrite(request, message)
    form = SendForm(request.POST, user=request.user)
    if not form.is_valid():
        return _edit_refused(request, 422, form.first_error(), message)
    sent = form.cleaned_data
    gateway, model = form.destination
    if not (sent["model"] or sent["gateway"]):
        gateway, model = _as_before(message) or form.destination

    def asking() -> Message:
        place = Destination(gateway, model)
        limits.check(request.user, place, sent["text"], message.conversation)
        return message.edit(sent["text"], model, gateway)

    try:
        reply = _once(request, "edit", message, sent["client_key"], asking)
    except Conflict:
        sentence = _("A reply is running here. Stop it or let it end, then send your change again.")
        return _edit_refused(request, 409, sentence, message)
    except limits.LIMITS as error:
        status, sentence, advice, wait_s = limits.told(error)
        response = _edit_refused(request, status, f"{sentence} {advice}", message)
        if wait_s is not None:
            response["Retry-After"] = str(wait_s)
        return response
    return _thread(request, reply)


def _rewrite(request: HttpRequest, message: Message) -> HttpResponse:
    form = TextForm(request.POST)
    if not form.is_valid():
        return _edit_refused(request, 422, form.first_error(), message)
    try:
        Revision.rewrite(message, form.cleaned_data["text"])
    except Conflict:
        return _edit_refused(request, 409, _moved_on(), message)
    return _article(request, message)


def _form(
    request: HttpRequest, message: Message, alert: str = "", status: int = 200
) -> HttpResponse:
    (m,) = shown([message])
    context = {
        "m": m,
        "client_key": str(uuid.uuid4()),
        "alert": alert,
        "is_unasked": message.is_unasked,
    }
    template = "_edit.html" if request.htmx else "edit.html"
    return render(request, template, context, status=status)


def _edit_refused(
    request: HttpRequest, status: int, sentence: str, message: Message
) -> HttpResponse:
    """The form again with what was typed; htmx, which still shows it, gets the sentence alone."""
    if request.htmx:
        return refuse(request, status, sentence)
    message.refresh_from_db()
    message.text = clean_user(request.POST.get("text", ""))
    return _form(request, message, sentence, status)


@for_message("GET", "POST")
def delete(request: HttpRequest, message: Message) -> HttpResponse:
    """GET: how many messages would go; POST: they go."""
    if request.method != "POST":
        template = "_delete_message.html" if request.htmx else "delete_message.html"
        count, is_branched = message.reach()
        context = {"message": message, "count": count, "is_branched": is_branched}
        return render(request, template, context | {"kept": retention.rule_of(request.user)})
    try:
        message.delete_for_owner()
    except Held:
        return refused(request, 409, held(), message.conversation)
    return _thread(request, message)


@for_message("POST")
def fork(request: HttpRequest, message: Message) -> HttpResponse:
    """Go on from here in a conversation of its own."""
    form = CommandForm(request.POST)
    if not form.is_valid():
        return refused(request, 422, form.first_error(), message.conversation)
    key = form.cleaned_data["client_key"]
    try:
        copy = _once(request, "fork", message, key, lambda: make_fork(message))
    except Conflict:
        return refused(request, 409, _moved_on(), message.conversation)
    if not request.htmx:
        return see_other(copy.conversation)
    address = copy.conversation.get_absolute_url()
    return HttpResponse(status=204, headers={"HX-Redirect": address})


@for_message("POST")
def branch(request: HttpRequest, message: Message) -> HttpResponse:
    """Show the branch on which this message lies."""
    message.make_current()
    return _thread(request, message)


@for_message("GET")
def text(request: HttpRequest, message: Message) -> HttpResponse:
    """The Markdown as it came, to be copied."""
    return HttpResponse(
        message.text,
        content_type="text/plain; charset=utf-8",
        headers={"X-Content-Type-Options": "nosniff"},
    )


@for_message("GET", "HEAD")
def picture(request: HttpRequest, message: Message, number: int) -> HttpResponse:
    """An image that the model made."""
    return pictures.served(get_object_or_404(message.pictures, pk=number))


def _as_before(message: Message) -> Destination | None:
    """The model that answered this question last, where nothing else was picked."""
    reply = message.children.filter(deleted_at=None).select_related("gateway").last()
    if reply is None or reply.gateway is None or not reply.gateway.enabled:
        return None
    return Destination(reply.gateway, reply.model)
