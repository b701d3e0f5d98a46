"""Whose heart stands still: heartbeats as whoever looks saw them last, kept in their session.

A counter in the row and no clock says that an owner lives, so one look can't tell; two can.
"""

from collections.abc import Iterable

from django.conf import settings
from django.http import HttpRequest
from django.utils import timezone

from chat.models import Generation

_SEEN = "pulses_seen"


def standing(request: HttpRequest, running: Iterable[Generation]) -> set[int]:
    """Those whose owner's counter is where it was a lease ago or longer."""
    now = timezone.now().timestamp()
    before = request.session.get(_SEEN, {})
    seen, still = {}, set()
    for generation in running:
        key, pulse = str(generation.pk), [generation.fence, generation.heartbeat]
        was, since = before.get(key, (None, now))
        seen[key] = [pulse, since if was == pulse else now]
        if now - seen[key][1] >= settings.LEASE_S:
            still.add(generation.pk)
    if seen != before:
        request.session[_SEEN] = seen
    return still
