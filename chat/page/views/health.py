"""For machines: is it up, is it fit to serve, and figures."""

from django.conf import settings
from django.db import DatabaseError, InterfaceError, connection
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.http import require_safe

from chat.replies.process import process


@require_safe
def healthz(request: HttpRequest) -> HttpResponse:
    """200 while the process serves, whatever else may be wrong."""
    return HttpResponse("ok", content_type="text/plain")


@require_safe
def readyz(request: HttpRequest) -> HttpResponse:
    """200 or 503, each part "ok", "off" or a sentence.

    Without Redis pages open and replies go on: if it were counted, its loss would take down them all.
    """
    parts = {
        "database": _database(),
        "redis": _redis(),
        "runner": _runner(),
        "draining": "this process is going down" if process.is_draining else "off",
    }
    needed = (part for name, part in parts.items() if name != "redis")
    is_ready = all(part in ("ok", "off") for part in needed)
    return JsonResponse(parts, status=200 if is_ready else 503)


def _database() -> str:
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1 FROM django_migrations LIMIT 1")
    except (DatabaseError, InterfaceError):
        return "the database does not answer"
    return "ok"


def _redis() -> str:
    if process.doorbell is None:
        return "off"
    return "ok" if process.doorbell.is_heard else "Redis does not answer: live text may lag"


def _runner() -> str:
    if not settings.EMBEDDED:
        return "off"
    return "ok" if process.runner is not None else "the runner has not started"
