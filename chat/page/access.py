"""The gate of every view: who asks, and through which of their own rows."""

from collections.abc import Callable
from functools import wraps
from typing import Any
from urllib.parse import quote
from uuid import UUID

from django.http import Http404, HttpRequest, HttpResponse, HttpResponseNotAllowed
from django.shortcuts import get_object_or_404, redirect, resolve_url
from django.urls import reverse

from chat.models import Conversation, Message

View = Callable[..., HttpResponse]


def member_only(view: View) -> View:
    """Send anybody else to the login; a program and htmx get 401 and where to go."""

    @wraps(view)
    def wrapped(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        if request.user.is_authenticated:
            return view(request, *args, **kwargs)
        htmx = getattr(request, "htmx", None)
        # After the login a page can be opened again, a command or a part of a page can't.
        goal = request.get_full_path() if request.method == "GET" else reverse("home")
        if htmx:
            goal = htmx.current_url_abs_path or reverse("home")
        login = f"{reverse('login')}?next={quote(goal)}"
        if htmx or request.path.endswith(".json"):
            return HttpResponse(status=401, headers={"HX-Redirect": login})
        return redirect(login)

    return wrapped


def for_conversation(*methods: str, deleted: bool = False) -> Callable[[View], View]:
    """Give the view the member's own conversation; 404 for any other, whatever the verb.

    With `deleted`, one whose deletion may still be undone, and no other.
    """

    allowed = [*methods, "HEAD"] if "GET" in methods else methods

    def decorate(view: View) -> View:
        @member_only
        @wraps(view)
        def wrapped(request: HttpRequest, uuid: str) -> HttpResponse:
            mine = request.user.conversations.select_related("leaf", "owner")
            mine = mine.restorable() if deleted else mine.alive()
            conversation = get_object_or_404(mine, uuid=parse_uuid(uuid))
            if request.method not in allowed:
                return HttpResponseNotAllowed(allowed)
            return view(request, conversation)

        return wrapped

    return decorate


def for_message(*methods: str) -> Callable[[View], View]:
    """Give the view a message of one of the member's own conversations."""

    allowed = [*methods, "HEAD"] if "GET" in methods else methods

    def decorate(view: View) -> View:
        @member_only
        @wraps(view)
        def wrapped(request: HttpRequest, uuid: str, **rest: Any) -> HttpResponse:
            mine = Message.objects.of(request.user).for_display()
            mine = mine.select_related("conversation__owner", "conversation__leaf", "parent")
            message = get_object_or_404(mine, uuid=parse_uuid(uuid))
            if request.method not in allowed:
                return HttpResponseNotAllowed(allowed)
            return view(request, message, **rest)

        return wrapped

    return decorate


def see_other(goal: Any) -> HttpResponse:
    """The answer to a command without htmx: it is done, and here is what it changed."""
    return HttpResponse(status=303, headers={"Location": resolve_url(goal)})


def parse_uuid(text: str) -> UUID:
    """Raises Http404 for what is none: a malformed id is an unknown one."""
    try:
        uuid = UUID(text)
    except ValueError:
        raise Http404 from None
    if str(uuid) != text:
        raise Http404
    return uuid


def is_mine(conversation: Conversation, message: UUID) -> bool:
    return conversation.messages.filter(uuid=message).exists()
