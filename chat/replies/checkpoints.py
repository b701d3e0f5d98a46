"""One thread that writes what all running replies gained, several times a second, in one transaction.

It is the only writer of a running reply, its end included, so nothing overtakes anything. While the
database is away it keeps what came and tries again; the runner's loop never waits for a lock.
"""

import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field, replace

from django.conf import settings
from django.db import (
    DatabaseError,
    DataError,
    InterfaceError,
    close_old_connections,
    connection,
)

from chat.models.calls import CallEnd
from chat.models.generations import Checkpoint, Generation, Outcome

from .database import keep_connection

logger = logging.getLogger(__name__)
INTERVAL_S = 0.2
UNSAVED_AFTER_S = 4.0  # promised to be seen within 5
WATCH_S = 0.25
BEAT_S = 1.0


@dataclass
class _Reply:
    fence: int
    saved: tuple[int, int]
    began: float  # monotonic, at the claim
    reasoning: list[str] = field(default_factory=list)
    text: list[str] = field(default_factory=list)
    since: float | None = None  # monotonic, when the oldest unsaved piece came
    # Sent, and its answer not seen: to be sent again as it was, or the row can't tell it from news.
    trying: Checkpoint | None = None
    told_unsaved: bool = False
    ending: tuple[Outcome, CallEnd | None, Future[bool]] | None = None


class Writer(threading.Thread):
    """`report(generation, saved)`, `lost(generation)` and `stop(generation)` only pass the word on:

    they are called from threads of the writer, and under its lock.
    """

    def __init__(
        self,
        owner: str,
        report: Callable[[int, bool], None],
        lost: Callable[[int], None],
        stop: Callable[[int], None],
    ) -> None:
        super().__init__(name="checkpoints", daemon=True)
        self._owner = owner
        self._report = report
        self._lost = lost
        self._stop_reply = stop  # not _stop: that name is the thread's own
        self._lock = threading.Lock()
        self._replies: dict[int, _Reply] = {}
        self._work = threading.Event()
        self._closing = threading.Event()
        self._beaten = 0.0

    # --- from the runner's loop -----------------------------------------------------------------

    def open(self, generation: int, fence: int, saved: tuple[int, int]) -> None:
        with self._lock:
            self._replies[generation] = _Reply(fence, saved, time.monotonic())

    def add(self, generation: int, reasoning: str, text: str) -> None:
        with self._lock:
            if (reply := self._replies.get(generation)) is None:
                return
            if reasoning:
                reply.reasoning.append(reasoning)
            if text:
                reply.text.append(text)
            if reply.since is None:
                reply.since = time.monotonic()

    def end(self, generation: int, outcome: Outcome, call: CallEnd | None) -> Future[bool]:
        """Save the rest and the end; the result is False where the reply was no longer ours."""
        done: Future[bool] = Future()
        with self._lock:
            self._replies[generation].ending = (outcome, call, done)
        self._work.set()
        return done

    def close(self) -> None:
        self._closing.set()
        self._work.set()

    # --- the thread -------------------------------------------------------------------------------

    def run(self) -> None:
        keep_connection()
        threading.Thread(target=self._watch, name="unsaved", daemon=True).start()
        due = time.monotonic()
        while not self._closing.is_set():
            self._work.wait(max(0.0, due - time.monotonic()))
            self._work.clear()
            # From beginning to beginning: what a write takes would else come on top.
            due = time.monotonic() + INTERVAL_S
            try:
                self._write()
                self._beat()
            except (DatabaseError, InterfaceError) as error:
                logger.warning("Checkpoints wait for the database: %s", error)
                connection.close()
                self._closing.wait(INTERVAL_S)
            except Exception:
                # A defect here must not end the only writer; what is pending stays pending.
                logger.exception("A checkpoint failed")
                self._closing.wait(INTERVAL_S)
        connection.close()

    def _write(self) -> None:
        with self._lock:
            replies = dict(self._replies)
            endings = {}
            for pk, reply in replies.items():
                if reply.since is not None and reply.trying is None:
                    reply.trying = self._gain(pk, reply)
                # What came after a piece that could not be saved has its turn before the end.
                if reply.ending and not (reply.reasoning or reply.text):
                    endings[pk] = reply.ending
        gains = [reply.trying for reply in replies.values() if reply.trying]
        if gains or endings:
            close_old_connections()
        if gains:
            lost = Generation.checkpoint(gains)
            for gain in gains:
                self._settle(gain)
            for pk in lost:
                self._lost(pk)
        for pk, (outcome, call, done) in endings.items():
            ours = self._finish(pk, replies[pk].fence, outcome, call)
            with self._lock:
                self._replies.pop(pk, None)
            done.set_result(ours)

    def _finish(self, pk: int, fence: int, outcome: Outcome, call: CallEnd | None) -> bool:
        try:
            return Generation.finish(pk, fence, outcome, call)
        except DataError:
            # It will never be taken as it is, and all other replies of this process wait behind it.
            if call is None or not (call.links or call.images):
                raise
            logger.exception("What generation %d brought beside its text can't be stored", pk)
            return Generation.finish(pk, fence, outcome, replace(call, links=(), images=()))

    def _gain(self, pk: int, reply: _Reply) -> Checkpoint:
        """All that is unsaved, taken out of the lists."""
        reasoning, text = "".join(reply.reasoning), "".join(reply.text)
        reply.reasoning, reply.text = [], []
        ms = round((time.monotonic() - reply.began) * 1000)
        return Checkpoint(pk, reply.fence, reply.saved, reasoning, text, ms)

    def _settle(self, gain: Checkpoint) -> None:
        with self._lock:
            reply = self._replies[gain.generation]
            reply.saved = gain.end
            reply.trying = None
            reply.since = time.monotonic() if reply.reasoning or reply.text else None
            if reply.ending:
                self._work.set()
            if reply.told_unsaved:
                reply.told_unsaved = False
                self._report(gain.generation, True)

    def _watch(self) -> None:
        """In a thread of its own: the writer may wait for a lock longer than readers should."""
        while not self._closing.wait(WATCH_S):
            late = time.monotonic() - UNSAVED_AFTER_S
            with self._lock:
                for pk, reply in self._replies.items():
                    if reply.since is not None and reply.since < late and not reply.told_unsaved:
                        reply.told_unsaved = True
                        self._report(pk, False)

    def _beat(self) -> None:
        every_s = min(BEAT_S, settings.LEASE_S / 5)
        if not self._replies or time.monotonic() - self._beaten < every_s:
            return
        self._beaten = time.monotonic()
        with self._lock:
            # One that is ending is in nobody's hands but ours.
            running = [pk for pk, reply in self._replies.items() if not reply.ending]
        mine = Generation.beat(self._owner)
        for pk in running:
            if pk not in mine:
                self._lost(pk)
            elif mine[pk]:
                self._stop_reply(pk)
