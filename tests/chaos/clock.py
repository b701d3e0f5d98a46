"""Time as deadlines count it, and time as the servers are told it."""

import asyncio
import contextlib
import os
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path
from typing import TypeVar

from tests.services import faketime

T = TypeVar("T")


class Clock:
    """Seconds in which neither this process nor a server waited for a processor.

    Deadlines are promised for a machine that has time for them; so on a busy one the time for which
    the kernel says that a thread was ready and had to wait (schedstat) is taken off: of all threads
    the longest. Elsewhere than on Linux seconds are seconds.
    """

    TICK_S = 0.04

    def __init__(self, server_pids: Callable[[], Iterable[int]]) -> None:
        self.now = 0.0
        self._server_pids = server_pids
        self._waited: dict[str, float] = {}
        self._task = asyncio.create_task(self._tick())

    async def _tick(self) -> None:
        loop = asyncio.get_running_loop()
        last = loop.time()
        while True:
            await asyncio.sleep(self.TICK_S)
            now = loop.time()
            pids = [os.getpid(), *self._server_pids()]
            waited = max((self._wait_of(task) for pid in pids for task in _tasks(pid)), default=0.0)
            self.now += max(0.0, now - last - waited)
            last = now

    def _wait_of(self, task: str) -> float:
        """For how long this thread waited since it was asked last."""
        try:
            with open(f"{task}/schedstat", "rb") as file:  # noqa: PTH123  (often, so plainly)
                total = int(file.read().split()[1]) / 1e9
        except (OSError, IndexError):
            return 0.0
        before, self._waited[task] = self._waited.get(task, total), total
        return total - before

    async def until(
        self, probe: Callable[[], T | Awaitable[T]], deadline_s: float, every_s: float = 0.05
    ) -> T | None:
        """The first truthy answer, else None once so many seconds have passed."""
        end = self.now + deadline_s
        while True:
            is_late = self.now > end
            answer = probe()
            if isinstance(answer, Awaitable):
                answer = await answer
            if answer:
                return answer
            if is_late:
                return None
            await asyncio.sleep(every_s)

    def close(self) -> None:
        self._task.cancel()


def _tasks(pid: int) -> list[str]:
    try:
        return [entry.path for entry in os.scandir(f"/proc/{pid}/task")]
    except OSError:
        return []


def _library() -> str | None:
    try:
        return faketime()
    except FileNotFoundError:
        return None


class WallClock:
    """The time of day of one process, which can be made to jump: by libfaketime, where it is there.

    Its monotonic clock goes on, as it does when a machine's clock is set.
    """

    SEEN_WITHIN_S = 1.0  # it looks at its file once a second

    def __init__(self, path: Path) -> None:
        self._path = path
        self.library = _library()
        self.offset_s = 0
        self.jump(0)

    @property
    def environment(self) -> dict[str, str]:
        if self.library is None:
            return {}
        return {
            "LD_PRELOAD": self.library,
            "FAKETIME_TIMESTAMP_FILE": str(self._path),
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            # Its own waits for conditions look at the clock all the time: the GIL would, too.
            "FAKETIME_FORCE_MONOTONIC_FIX": "0",
            "FAKETIME_CACHE_DURATION": "0",
        }

    def jump(self, seconds: int) -> None:
        """To so many seconds off the true time."""
        self.offset_s = seconds
        draft = self._path.with_suffix(".new")
        with contextlib.suppress(FileNotFoundError):  # its disk is gone
            draft.write_text(f"{seconds:+d}\n")
            draft.replace(self._path)
