"""Bells: 'something changed, look'. They carry no text, and a lost one costs a second, not a word.

Whoever waits in this process listens here. From process to process they are carried by
chat/replies/doorbell.py, where there are several.
"""

import asyncio
import json
import uuid
from collections import defaultdict
from collections.abc import Callable
from contextlib import closing
from typing import Any

from django.conf import settings
from django.db import transaction

RUNNERS = "runners"
NOTICES = "notices"
LOST = "lost"  # rung here while bells from elsewhere may not be heard: look yourself
CHANNEL = f"{settings.REDIS_PREFIX}:bells"
TIMEOUT_S = 1.0

Note = dict[str, Any]
_ears: defaultdict[str, set[Callable[[Note], None]]] = defaultdict(set)
_loop: asyncio.AbstractEventLoop | None = None
_carry: Callable[[str], None] | None = None
_here = uuid.uuid4().hex


def listen_here(
    loop: asyncio.AbstractEventLoop | None, carry: Callable[[str], None] | None = None
) -> None:
    """Name the loop on which this process's ears wait, and what takes bells to other processes."""
    global _loop, _carry
    _loop, _carry = loop, carry


def user_group(user_id: int) -> str:
    return f"user.{user_id}"


def listen(group: str, ear: Callable[[Note], None]) -> None:
    """Have `ear` called on the loop with each bell's note, until `forget`."""
    _ears[group].add(ear)


def forget(group: str, ear: Callable[[Note], None]) -> None:
    _ears[group].discard(ear)
    if not _ears[group]:
        del _ears[group]


def ring(group: str, **note: Any) -> None:
    """After the commit, wake whoever waits in `group`; `note` is a hint of a few ids."""
    transaction.on_commit(lambda: _ring(group, note), robust=True)


def _ring(group: str, note: Note) -> None:
    text = json.dumps([_here, group, note])
    if _loop is not None and _loop.is_running():
        _loop.call_soon_threadsafe(hear, group, note)
        if _carry is not None:
            _loop.call_soon_threadsafe(_carry, text)
    elif settings.REDIS_URL:  # a command, which serves nobody itself
        import redis  # 6 MB, which the embedded form does without

        client = redis.Redis.from_url(
            settings.REDIS_URL, socket_timeout=TIMEOUT_S, socket_connect_timeout=TIMEOUT_S
        )
        with closing(client):
            client.publish(CHANNEL, text)


def hear(group: str, note: Note) -> None:
    """On the loop: call every ear of the group."""
    for ear in list(_ears.get(group, ())):
        ear(note)


def hear_carried(text: str) -> None:
    """The same for a bell from another process; one's own comes back as well, and is passed over."""
    where, group, note = json.loads(text)
    if where != _here:
        hear(group, note)
