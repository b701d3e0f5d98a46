"""Notices, in the scaled form, that an owner died, and ends what it left.

Each process does so for itself and by what it has seen itself. No clock that two processes would have
to share decides, and no time counts in which an owner could not have written.
"""

import asyncio
import contextvars
import logging
import time
from collections.abc import Awaitable, Callable

from django.conf import settings
from django.db import DatabaseError, InterfaceError

from chat.models import Generation

from .branch import cut_usage
from .database import in_database
from .log import Cursor

logger = logging.getLogger(__name__)
MOST_BETWEEN_LOOKS_S = 1.0
SEAL_WITHIN_S = 5.0
Pulse = tuple[int, int]  # fence and heartbeat, as the row has them


class Sweeper:
    """`seal(base)` closes a dead owner's log, and returns the texts that it has beyond `base`."""

    def __init__(self, seal: Callable[[Cursor], Awaitable[tuple[str, str]]]) -> None:
        self._seal = seal
        self._every_s = min(MOST_BETWEEN_LOOKS_S, settings.LEASE_S / 5)
        self._loop = asyncio.get_running_loop()
        self._still: dict[int, tuple[Pulse, float]] = {}  # and for how many seconds that we count
        self._task = self._loop.create_task(
            self._look_forever(), context=contextvars.Context(), name="sweeper"
        )

    async def aclose(self) -> None:
        self._task.cancel()
        await asyncio.wait([self._task])

    async def _look_forever(self) -> None:
        while True:
            await asyncio.sleep(self._every_s)
            try:
                await in_database(self.look)()
            except (DatabaseError, InterfaceError) as error:
                logger.warning("Owners can't be watched without the database: %s", error)
                self._still.clear()
            except Exception:
                logger.exception("Looking for dead owners failed")
                self._still.clear()

    def look(self) -> None:
        """One look, about `every_s` after the last one."""
        began = time.monotonic()
        pulses = Generation.pulses()
        same = {
            pk for pk, pulse in pulses.items() if pk in self._still and self._still[pk][0] == pulse
        }
        # Nobody's heart is beating while nobody can write.
        Generation.touch(same)
        # Our own thread or the database may have been held up for long, and the owners with us.
        step_s = self._every_s if time.monotonic() - began < self._every_s else 0.0
        self._still = {
            pk: (pulse, self._still[pk][1] + step_s if pk in same else 0.0)
            for pk, pulse in pulses.items()
        }
        for pk, (pulse, still_s) in list(self._still.items()):
            if still_s >= settings.LEASE_S and Generation.give_up(
                pk, pulse, rest=self._rest, usage=cut_usage
            ):
                logger.warning("Generation %d was left by its owner, and is interrupted", pk)

    def _rest(self, generation: Generation) -> tuple[str, str]:
        base = Cursor(generation.pk, generation.saved_reasoning, generation.saved_text)
        sealing = asyncio.run_coroutine_threadsafe(self._sealed(base), self._loop)
        return sealing.result(SEAL_WITHIN_S)

    async def _sealed(self, base: Cursor) -> tuple[str, str]:
        return await self._seal(base)
