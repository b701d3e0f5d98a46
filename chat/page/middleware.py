"""Before any view: probes, going down, a first visit, how its reader likes to read."""

from collections.abc import Callable
from typing import Any

from django.conf import settings
from django.db import OperationalError
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import timezone, translation
from django.utils.translation import gettext as _

from chat.models import User
from chat.models.people import time_zones
from chat.replies.process import process

PROBES = ("/healthz", "/readyz", "/metrics")
# Where a browser says its time zone (static/js/sidebar.js), and keeps a theme for the login page.
ZONE_COOKIE, THEME_COOKIE = "zone", "theme"
DEADLOCK = "40P01"  # PostgreSQL's SQLSTATE
_has_user = False


def probes(get_response: Callable[[HttpRequest], HttpResponse]) -> Callable[..., HttpResponse]:
    """Let machines ask by whatever address they know: what they are told depends on no Host."""

    def middleware(request: HttpRequest) -> HttpResponse:
        if request.path in PROBES:
            # In its place one that is allowed, as Django asks for it in places of its own.
            request.META["HTTP_HOST"] = settings.ALLOWED_HOSTS[0]
        return get_response(request)

    return middleware


def gate(get_response: Callable[[HttpRequest], HttpResponse]) -> Callable[..., HttpResponse]:
    """Refuse what a process that goes down can't finish; send a first visitor to the set-up."""

    def middleware(request: HttpRequest) -> HttpResponse:
        if process.is_draining and request.method not in ("GET", "HEAD", "OPTIONS"):
            return refuse(request, 503, _("Potok is restarting. Your text is kept; try again."), 5)
        if request.path not in (*PROBES, reverse("setup")) and _needs_setup():
            return redirect("setup")
        response = get_response(request)
        if not response.has_header("Cache-Control"):
            response["Cache-Control"] = "no-store"
        return response

    return middleware


def reader(get_response: Callable[[HttpRequest], HttpResponse]) -> Callable[..., HttpResponse]:
    """Answer in the language and the time zone that the reader chose, else in the browser's."""

    def middleware(request: HttpRequest) -> HttpResponse:
        if request.path in PROBES:
            return get_response(request)
        if language := getattr(request.user, "language", ""):
            translation.activate(language)
        with timezone.override(_time_zone(request)):
            return get_response(request)

    return middleware


class AgainAfterDeadlock:
    """Has a command done once more that PostgreSQL ended because two waited for each other.

    All of it was undone, and whoever it met is through by then. The last of the list, so that nothing
    of what is to be asked before a view is passed over.
    """

    TIMES = 2

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        return self._get_response(request)

    def process_view(
        self, request: HttpRequest, view: Callable[..., HttpResponse], args: Any, kwargs: Any
    ) -> HttpResponse | None:
        if request.method != "POST":
            return None
        for _time in range(self.TIMES):
            try:
                return view(request, *args, **kwargs)
            except OperationalError as error:
                if getattr(error.__cause__, "sqlstate", None) != DEADLOCK:
                    raise
        return None  # once more, by Django itself


def _time_zone(request: HttpRequest) -> str | None:
    """None is the installation's."""
    chosen = getattr(request.user, "time_zone", "")
    told = chosen or request.COOKIES.get(ZONE_COOKIE, "")
    return told if told in time_zones() else None


def refuse(
    request: HttpRequest,
    status: int,
    sentence: str,
    retry_after_s: int | None = None,
    advice: str = "",
    title: str = "",
) -> HttpResponse:
    """A sentence that htmx puts where alerts go, and a page without htmx, with a title if it has one."""
    if getattr(request, "htmx", False):
        context = {"alert": sentence, "advice": advice}
        response = render(request, "_alert.html", context, status=status)
        response["HX-Retarget"] = "#composer-alert"
        response["HX-Reswap"] = "innerHTML"
    else:
        context = {"title": title or sentence, "sentence": sentence, "status": status}
        response = render(request, "error.html", context, status=status)
    if retry_after_s is not None:
        response["Retry-After"] = str(retry_after_s)
    return response


def _needs_setup() -> bool:
    """Asked of the database until there is a user, and never again."""
    global _has_user
    if not _has_user:
        _has_user = User.objects.exists()
    return not _has_user
