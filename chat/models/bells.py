"""Bells: 'something changed, look'. They carry no text, and a lost one costs a second, not a word."""

import asyncio
import logging
from typing import Any

from asgiref.sync import async_to_sync
from channels.layers import get_channel_layer
from django.conf import settings
from django.db import transaction

log = logging.getLogger(__name__)
RUNNERS = "runners"
_loop: asyncio.AbstractEventLoop | None = None


def listen_here(loop: asyncio.AbstractEventLoop | None) -> None:
    """Name the loop on which this process's sockets and runner wait."""
    global _loop
    _loop = loop


def user_group(user_id: int) -> str:
    return f"user.{user_id}"


def ring(group: str, **note: Any) -> None:
    """After the commit, wake whoever waits in `group`; `note` is a hint of a few ids."""
    transaction.on_commit(lambda: _ring(group, {"type": "bell", **note}), robust=True)


def _ring(group: str, message: dict[str, Any]) -> None:
    layer = get_channel_layer()
    if _loop is not None and _loop.is_running():
        # The in-memory layer's queues belong to that loop: only there may they be touched.
        asyncio.run_coroutine_threadsafe(layer.group_send(group, message), _loop)
    elif not settings.EMBEDDED:
        async_to_sync(layer.group_send)(group, message)
