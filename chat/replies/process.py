"""What one process holds for its replies: the logs, the runner, and its going down."""

import asyncio
from collections.abc import Awaitable, Callable

from django.conf import settings

from chat.models import bells

from .log import MemoryLogs
from .runner import Runner


class Process:
    """Started once, on the loop that serves; `is_draining` from the moment it is asked to end."""

    def __init__(self) -> None:
        self.logs: MemoryLogs | None = None
        self.runner: Runner | None = None
        self.is_draining = False
        self._starting: asyncio.Task[None] | None = None
        self._farewells: list[Callable[[], Awaitable[None]]] = []

    async def start(self) -> None:
        """Come up, whoever asks first; everybody else waits for the same."""
        if self._starting is None:
            self._starting = asyncio.get_running_loop().create_task(self._start())
        await asyncio.shield(self._starting)

    async def _start(self) -> None:
        bells.listen_here(asyncio.get_running_loop())
        self.logs = MemoryLogs()
        if settings.EMBEDDED:
            self.runner = Runner(self.logs)
            await self.runner.start()

    def before_end(self, farewell: Callable[[], Awaitable[None]]) -> None:
        """Have `farewell` awaited after the replies have ended and before the process does."""
        self._farewells.append(farewell)

    async def drain(self, limit_s: float) -> None:
        self.is_draining = True
        if self.runner is not None:
            await self.runner.drain(limit_s)
        for farewell in self._farewells:
            await farewell()


process = Process()
