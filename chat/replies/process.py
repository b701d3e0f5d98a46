"""What one process holds for its replies: the logs, the runner, the watches, and its going down."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from django.conf import settings

from chat.models import bells

from .courier import Courier
from .database import bound_transactions
from .log import Logs, MemoryLogs
from .runner import Runner
from .sweeper import Sweeper

if TYPE_CHECKING:
    from .doorbell import Doorbell


class Process:
    """Started once, on the loop that serves; `is_draining` from the moment it is asked to end."""

    def __init__(self) -> None:
        self.logs: Logs | None = None
        self.runner: Runner | None = None
        self.doorbell: Doorbell | None = None
        self.is_draining = False
        # Whether what runs us lets replies finish before it ends; said by those who do.
        self.drains = False
        self._sweeper: Sweeper | None = None
        self._courier: Courier | None = None
        self._starting: asyncio.Task[None] | None = None
        self._farewells: list[Callable[[], Awaitable[None]]] = []

    async def start(self, runs: bool = settings.EMBEDDED) -> None:
        """Come up, whoever asks first; everybody else waits for the same. `runs`: replies, too."""
        if self._starting is None:
            self._starting = asyncio.get_running_loop().create_task(self._start(runs))
        await asyncio.shield(self._starting)

    async def _start(self, runs: bool) -> None:
        loop = asyncio.get_running_loop()
        bound_transactions()
        if settings.EMBEDDED:
            bells.listen_here(loop)
            self.logs = MemoryLogs()
        else:
            # Redis's client takes 6 MB, which the embedded form does without.
            from .doorbell import Doorbell
            from .redis_log import RedisLogs

            self.doorbell = Doorbell(settings.REDIS_URL)
            bells.listen_here(loop, self.doorbell.carry)
            self.doorbell.start()
            self.logs = logs = RedisLogs(settings.REDIS_URL, settings.REDIS_PREFIX)
            # In every process: the dead one may have been the last that runs replies.
            self._sweeper = Sweeper(logs.seal)
        if runs:
            self.runner = Runner(self.logs)
            await self.runner.start()
            self._courier = Courier()

    def before_end(self, farewell: Callable[[], Awaitable[None]]) -> None:
        """Have `farewell` awaited after the replies have ended and before the process does."""
        self._farewells.append(farewell)

    async def drain(self, limit_s: float) -> None:
        self.is_draining = True
        if self.runner is not None:
            await self.runner.drain(limit_s)
        for farewell in self._farewells:
            await farewell()
        for part in (self._courier, self._sweeper, self.logs, self.doorbell):
            if part is not None:
                await part.aclose()


process = Process()
