"""The way from the event loop to the ORM: threads of our own, each with a connection of its own."""

from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

from channels.db import DatabaseSyncToAsync

P = ParamSpec("P")
T = TypeVar("T")

# Outside of HTTP requests all thread-sensitive work of a process would share one single thread.
_threads = ThreadPoolExecutor(max_workers=4, thread_name_prefix="database")


def in_database(function: Callable[P, T]) -> Callable[P, Awaitable[T]]:
    """Run a synchronous, transactional function of the models off the loop."""
    return DatabaseSyncToAsync(function, thread_sensitive=False, executor=_threads)
