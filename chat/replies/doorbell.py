"""Carries bells from process to process, over Redis; the scaled form's own.

A process hears every bell and rings at whoever is in it, so nothing is to be joined when a socket
opens, and sockets open without Redis too. While it is away everybody is told to look by himself.
"""

import asyncio
import contextlib
import contextvars
import logging
import time
from collections import deque
from collections.abc import Coroutine
from typing import Any

from chat.models import bells

from .redis_log import UNREACHABLE, connect, end

logger = logging.getLogger(__name__)
PING_EVERY_S = 0.5
SILENCE_S = 1.5
LOOK_EVERY_S = 1.5
# The oldest are dropped: that is harmless, as each only says 'look'.
MOST_WAITING = 1000


class Doorbell:
    def __init__(self, url: str) -> None:
        self._redis = connect(url)
        self._waiting: deque[str] = deque(maxlen=MOST_WAITING)
        self._news = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self.is_heard = False

    def start(self) -> None:
        self._tasks = [self._task(self._hear_forever()), self._task(self._carry_forever())]

    def _task(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        return asyncio.get_running_loop().create_task(
            work, context=contextvars.Context(), name="doorbell"
        )

    async def aclose(self) -> None:
        await end(self._tasks)
        with contextlib.suppress(*UNREACHABLE):
            await self._carry_waiting()  # the last replies' ends
        await self._redis.aclose()

    # --- from here to the others ------------------------------------------------------------------

    def carry(self, text: str) -> None:
        self._waiting.append(text)
        self._news.set()

    async def _carry_forever(self) -> None:
        while True:
            await self._news.wait()
            self._news.clear()
            # One that isn't carried is made up for: the others' own look tells them as much.
            with contextlib.suppress(*UNREACHABLE):
                await self._carry_waiting()

    async def _carry_waiting(self) -> None:
        async with self._redis.pipeline(transaction=False) as pipe:
            while self._waiting:
                pipe.publish(bells.CHANNEL, self._waiting.popleft())
            await pipe.execute()

    # --- from the others ----------------------------------------------------------------------------

    async def _hear_forever(self) -> None:
        is_told = False
        while True:
            try:
                await self._hear()
            except UNREACHABLE as error:
                if self.is_heard or not is_told:
                    logger.warning("Redis is away, so no bells are heard: %s", error)
                    is_told = True
                self.is_heard = False
            except Exception:
                logger.exception("A bell could not be heard")
                self.is_heard = False
            bells.hear(bells.LOST, {})
            await asyncio.sleep(LOOK_EVERY_S)

    async def _hear(self) -> None:
        async with self._redis.pubsub() as ears:
            await ears.subscribe(bells.CHANNEL)
            heard = time.monotonic()
            while True:
                message = await ears.get_message(timeout=PING_EVERY_S)
                if message is None:
                    if time.monotonic() - heard > SILENCE_S:
                        raise TimeoutError("silence")
                    await ears.ping()
                    continue
                heard = time.monotonic()
                if message["type"] == "subscribe":
                    self.is_heard = True
                    # What was rung until now was not heard.
                    bells.hear(bells.LOST, {})
                elif message["type"] == "message":
                    bells.hear_carried(message["data"])
