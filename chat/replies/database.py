"""The way from the event loop to the ORM: threads of our own, each with a connection of its own."""

import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, ParamSpec, TypeVar

from channels.db import DatabaseSyncToAsync
from django.db.backends.signals import connection_created

P = ParamSpec("P")
T = TypeVar("T")

# Nothing of ours takes so long between two statements of a transaction.
FROZEN_S = 5

_this_thread = threading.local()


def keep_connection() -> None:
    """Have this thread keep its connection for as long as it works.

    Django would close it each time: right for threads of which there may be any number and none
    for long. To open one takes longer than most of what is asked over it. Before it is used again
    Django sees whether it still works.
    """
    _this_thread.keeps_connection = True


def _keep(connection: Any, **_more: object) -> None:
    if getattr(_this_thread, "keeps_connection", False):
        connection.close_at = None
        connection.health_check_enabled = True


connection_created.connect(_keep, dispatch_uid="keep connection")

# Outside of HTTP requests all thread-sensitive work of a process would share one single thread.
_threads = ThreadPoolExecutor(
    max_workers=4, thread_name_prefix="database", initializer=keep_connection
)


def bound_transactions() -> None:
    """Have PostgreSQL end a transaction that its process has left alone, once it must be frozen.

    It holds its rows: nobody could give up the replies that it ran, and who runs others waits for it.
    For the connections that are opened from now on.
    """
    connection_created.connect(_bound, dispatch_uid="bound transactions")


def _bound(connection: Any, **_more: object) -> None:
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute(f"SET idle_in_transaction_session_timeout = '{FROZEN_S}s'")


def in_database(function: Callable[P, T]) -> Callable[P, Awaitable[T]]:
    """Run a synchronous, transactional function of the models off the loop."""
    return DatabaseSyncToAsync(function, thread_sensitive=False, executor=_threads)
