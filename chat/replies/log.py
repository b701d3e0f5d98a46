"""The log of a running reply: the runner appends, any number of readers follow from a cursor.

A reader always takes everything newer than its cursor, so a slow one catches up in one step and
nothing queues for it. The log carries what is under way; the row is the truth once it has ended.
"""

import asyncio
from bisect import bisect_right
from collections.abc import AsyncIterator, Callable
from typing import NamedTuple, Protocol

KEPT_AFTER_CLOSE_S = 60.0


class Cursor(NamedTuple):
    """What a reader has: lengths in characters of cleaned text."""

    generation: int
    reasoning: int = 0
    text: int = 0


class Slice(NamedTuple):
    """Everything newer than a cursor; the texts begin exactly there."""

    cursor: Cursor
    reasoning: str
    text: str
    note: str  # what the reader should know while nothing arrives, such as 'retry 2 7.5'
    saved: bool  # False while the row is seconds behind
    closed: bool


class Gap(Exception):
    """The log does not reach back to that cursor, or is gone: read the row."""


Pause = Callable[[], float]


def at_once() -> float:
    return 0.0


class Logs(Protocol):
    """What a process has for its replies; to be used on its event loop only."""

    def open(self, base: Cursor) -> None:
        """Begin the log of a generation whose row already holds what `base` counts."""

    def append(self, generation: int, reasoning: str, text: str) -> None: ...

    def tell(self, generation: int, *, note: str | None = None, saved: bool | None = None) -> None:
        """Let readers know how it goes when no text says so."""

    def close(self, generation: int) -> None:
        """The row is in its final state. The text stays a while for readers who are late."""

    def follow(self, cursor: Cursor, pause_s: Pause = at_once) -> AsyncIterator[Slice]:
        """Yield what is newer than the cursor, again and again, until the log is closed.

        Before it looks for more it waits as long as `pause_s` then says: all that comes meanwhile
        is one slice. Raises Gap where the log cannot serve the cursor.
        """

    async def aclose(self) -> None:
        """Nothing follows; returns once readers elsewhere can have all that came before."""


class Track:
    """A growing text in pieces, which can be read from any length."""

    def __init__(self, start: int) -> None:
        self.start = self.end = start
        self._pieces: list[str] = []
        self._ends: list[int] = []

    def append(self, piece: str) -> None:
        if piece:
            self.end += len(piece)
            self._pieces.append(piece)
            self._ends.append(self.end)

    def since(self, length: int) -> str:
        """The text behind the first `length` characters; raises Gap where it began later."""
        if length >= self.end:
            return ""
        if length < self.start:
            raise Gap
        first = bisect_right(self._ends, length)
        begun = self._ends[first] - len(self._pieces[first])
        return "".join(self._pieces[first:])[length - begun :]


class Log:
    """One reply's log in this process."""

    def __init__(self, base: Cursor) -> None:
        self.reasoning = Track(base.reasoning)
        self.text = Track(base.text)
        self.note = ""
        self.saved = True
        self.closed = False
        self.lost = False  # nothing more will come from here, and the row knows better
        self._changes = 0
        # One future for each reader that waits: a queue would cost memory for each slow one.
        self._waiting: list[asyncio.Future[None]] = []

    def wake(self) -> None:
        self._changes += 1
        waiting, self._waiting = self._waiting, []
        for reader in waiting:
            if not reader.done():  # cancelled
                reader.set_result(None)

    async def change(self) -> None:
        """Returns once `wake` has been called."""
        waits: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(waits)
        await waits

    async def follow(self, cursor: Cursor, pause_s: Pause = at_once) -> AsyncIterator[Slice]:
        told = ("", True)
        while True:
            if (wait_s := pause_s()) > 0:
                await asyncio.sleep(wait_s)
            changes = self._changes
            reasoning = self.reasoning.since(cursor.reasoning)
            text = self.text.since(cursor.text)
            state = (self.note, self.saved)
            if reasoning or text or self.closed or state != told:
                told = state
                # A reader who comes from the row may be ahead of a log that comes over a network.
                cursor = Cursor(
                    cursor.generation,
                    max(cursor.reasoning, self.reasoning.end),
                    max(cursor.text, self.text.end),
                )
                news = Slice(cursor, reasoning, text, self.note, self.saved, self.closed)
                yield news
                # Not self.closed: more may have come, and the end too, while the reader was busy.
                if news.closed:
                    return
            if self.lost:
                raise Gap
            if changes == self._changes:
                await self.change()


class MemoryLogs:
    """The logs of the embedded form: runner and readers are in one process."""

    def __init__(self) -> None:
        self._logs: dict[int, Log] = {}

    def open(self, base: Cursor) -> None:
        self._logs[base.generation] = Log(base)

    def append(self, generation: int, reasoning: str, text: str) -> None:
        log = self._logs[generation]
        log.reasoning.append(reasoning)
        log.text.append(text)
        log.note = ""
        log.wake()

    def tell(self, generation: int, *, note: str | None = None, saved: bool | None = None) -> None:
        log = self._logs[generation]
        log.note = log.note if note is None else note
        log.saved = log.saved if saved is None else saved
        log.wake()

    def close(self, generation: int) -> None:
        if log := self._logs.get(generation):
            log.closed = True
            log.wake()
            asyncio.get_running_loop().call_later(
                KEPT_AFTER_CLOSE_S, self._logs.pop, generation, None
            )

    def follow(self, cursor: Cursor, pause_s: Pause = at_once) -> AsyncIterator[Slice]:
        log = self._logs.get(cursor.generation)
        return _gap() if log is None else log.follow(cursor, pause_s)

    async def aclose(self) -> None:
        return


async def _gap() -> AsyncIterator[Slice]:
    raise Gap
    yield
