"""The log of a running reply: the runner appends, any number of readers follow from a cursor.

A reader always takes everything newer than its cursor, so a slow one catches up in one step and
nothing queues for it. The log carries what is under way; the row is the truth once it has ended.
"""

import asyncio
from bisect import bisect_right
from collections.abc import AsyncIterator
from typing import NamedTuple

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


class _Track:
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
        if length >= self.end:
            return ""
        if length < self.start:
            raise Gap
        first = bisect_right(self._ends, length)
        begun = self._ends[first] - len(self._pieces[first])
        return "".join(self._pieces[first:])[length - begun :]


class _Log:
    def __init__(self, base: Cursor) -> None:
        self.reasoning = _Track(base.reasoning)
        self.text = _Track(base.text)
        self.note = ""
        self.saved = True
        self.closed = False
        # One future for all readers: a queue a reader would cost memory for each slow one.
        self.changed: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def wake(self) -> None:
        changed, self.changed = self.changed, asyncio.get_running_loop().create_future()
        changed.set_result(None)


class MemoryLogs:
    """The logs of one process; to be used on its event loop only."""

    def __init__(self) -> None:
        self._logs: dict[int, _Log] = {}

    def open(self, base: Cursor) -> None:
        """Begin the log of a generation whose row already holds what `base` counts."""
        self._logs[base.generation] = _Log(base)

    def append(self, generation: int, reasoning: str, text: str) -> None:
        log = self._logs[generation]
        log.reasoning.append(reasoning)
        log.text.append(text)
        log.note = ""
        log.wake()

    def tell(self, generation: int, *, note: str | None = None, saved: bool | None = None) -> None:
        """Let readers know how it goes when no text says so."""
        log = self._logs[generation]
        log.note = log.note if note is None else note
        log.saved = log.saved if saved is None else saved
        log.wake()

    def close(self, generation: int) -> None:
        """The row is in its final state. The text stays a while for readers who are late."""
        if log := self._logs.get(generation):
            log.closed = True
            log.wake()
            asyncio.get_running_loop().call_later(
                KEPT_AFTER_CLOSE_S, self._logs.pop, generation, None
            )

    async def follow(self, cursor: Cursor) -> AsyncIterator[Slice]:
        """Yield what is newer than the cursor, again and again, until the log is closed.

        Raises Gap where the log cannot serve the cursor.
        """
        log = self._logs.get(cursor.generation)
        if log is None:
            raise Gap
        told = ("", True)
        while True:
            changed = log.changed
            reasoning, text = log.reasoning.since(cursor.reasoning), log.text.since(cursor.text)
            state = (log.note, log.saved)
            if reasoning or text or log.closed or state != told:
                told = state
                cursor = Cursor(cursor.generation, log.reasoning.end, log.text.end)
                news = Slice(cursor, reasoning, text, log.note, log.saved, log.closed)
                yield news
                # Not log.closed: more may have come, and the end too, while the reader was busy.
                if news.closed:
                    return
            if changed is log.changed:
                await asyncio.shield(changed)
