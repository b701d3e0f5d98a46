"""Replies as this process's sockets watch them: followed once, rendered once, sent to any number.

A watcher asks `since(position)` whenever it is ready for more. One that keeps up gets the patches of
the last flushes; one that fell behind gets whole blocks from where it stands, in their latest state.
"""

import asyncio
import contextvars
import logging
import time
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

from asgiref.sync import sync_to_async
from django.db import DatabaseError, InterfaceError

from chat.models import Generation, Message
from chat.rendering.markdown import OFF_LOOP_CHARS, Growing, Patch
from chat.replies.database import in_database
from chat.replies.log import Cursor, Gap
from chat.replies.process import process

logger = logging.getLogger(__name__)
FLUSH_EVERY_S = 0.016
ROW_EVERY_S = 0.25
REMEMBERED_FLUSHES = 32

Op = list[Any]  # a change to the page; see static/js/socket.js


class Position(NamedTuple):
    """Where a watcher stands: the flush it has, and the lengths that this flush showed."""

    flush: int = -1
    reasoning: int = 0
    text: int = 0


class LiveReply:
    """One running reply: `wakes` are its watchers', `is_done` says that the row is final."""

    def __init__(self, generation: int, message: Message) -> None:
        self.generation = generation
        self.uuid = str(message.uuid)
        self.note = ""
        self.saved = True
        self.is_done = False
        self.is_cut = False
        self.is_broken = False  # the row is no continuation of what was shown: show it afresh
        self.wakes: set[Callable[[], None]] = set()
        self._reasoning = Growing()
        self._text = Growing()
        self._flush = 0
        self._not_before = 0.0  # monotonic: the next flush
        self._is_rendering = False  # in a thread; the blocks are not to be read meanwhile
        self._recent: deque[list[Op]] = deque(maxlen=REMEMBERED_FLUSHES)  # of each flush
        self.task = asyncio.get_running_loop().create_task(
            self._follow(message), context=contextvars.Context(), name=f"watch {generation}"
        )

    # --- for watchers -------------------------------------------------------------------------

    def since(self, position: Position) -> tuple[list[Op], Position]:
        """The changes that a watcher at `position` lacks, and where it stands then."""
        if position.flush == self._flush or self._is_rendering:
            return [], position
        here = Position(self._flush, self._reasoning.length, self._text.length)
        missed = self._flush - position.flush
        if position.flush >= 0 and missed == 1:
            return self._recent[-1], here
        if position.flush >= 0 and missed <= len(self._recent):
            recent = list(self._recent)[-missed:]
            return [op for ops in recent for op in ops], here
        # The last render may have changed any block, so whoever missed it gets them all.
        known = Position() if self.is_done else position
        ops = self._ops("rb", self._reasoning.since(known.reasoning))
        ops += self._ops("b", self._text.since(known.text))
        return ops, here

    # --- following ----------------------------------------------------------------------------

    async def _follow(self, message: Message) -> None:
        try:
            await self._grow(message.reasoning, message.text)
            is_open = True
            while is_open:
                try:
                    is_open = await self._follow_log()
                except Gap:
                    is_open = await self._follow_row()
            await self._finish()
            # Not before: a watcher that takes it for done leaves, and would miss the last render.
            self.is_done = True
        except asyncio.CancelledError:
            raise
        except Exception:
            logger.exception("Following generation %d failed", self.generation)
            self.is_done = self.is_broken = True
        finally:
            self._wake()

    async def _follow_log(self) -> bool:
        """Returns once nothing more will come from there: whether the reply goes on elsewhere."""
        assert process.logs is not None
        cursor = Cursor(self.generation, self._reasoning.length, self._text.length)
        async for piece in process.logs.follow(cursor, self._pause_s):
            began = time.monotonic()
            told = (piece.note, piece.saved)
            was_told, (self.note, self.saved) = (self.note, self.saved), told
            if piece.reasoning or piece.text:
                await self._grow(piece.reasoning, piece.text)
            elif told != was_told:
                self._wake()
            if piece.closed:
                # A dead owner's log is closed by another, and may be short of what the row has.
                return await self._follow_row()
            now = time.monotonic()
            # The leading edge went out at once; what follows shares a frame of the screen.
            self._not_before = now + max(FLUSH_EVERY_S, 2 * (now - began))
        return True

    def _pause_s(self) -> float:
        return self._not_before - time.monotonic()

    async def _follow_row(self) -> bool:
        """Take what the row has beyond what is shown. Returns whether the reply still runs."""
        try:
            row = await in_database(_read)(self.generation)
        except (DatabaseError, InterfaceError) as error:
            logger.warning("The row of generation %d can't be read: %s", self.generation, error)
            await asyncio.sleep(ROW_EVERY_S)
            return True
        if row is None:
            self.is_broken = True
            return False
        reasoning, text, is_open, self.is_cut = row
        if len(reasoning) < self._reasoning.length or len(text) < self._text.length:
            self.is_broken = not is_open
        else:
            await self._grow(reasoning[self._reasoning.length :], text[self._text.length :])
        if is_open:
            await asyncio.sleep(ROW_EVERY_S)
        return is_open

    async def _grow(self, reasoning: str, text: str) -> None:
        ops: list[Op] = []
        for part, growing, news in (("rb", self._reasoning, reasoning), ("b", self._text, text)):
            if not news:
                continue
            if (patches := growing.take(news)) is not None:
                ops += self._ops(part, patches)
            elif growing.open_length + len(news) <= OFF_LOOP_CHARS:
                ops += self._ops(part, growing.grow(news))
            else:
                ops += self._ops(part, await self._off_loop(partial(growing.grow, news)))
        self._publish(ops)

    async def _finish(self) -> None:
        """The one full render at the end; what differs from what was shown is sent again."""
        ops: list[Op] = []
        for part, growing in (("rb", self._reasoning), ("b", self._text)):
            is_cut = self.is_cut and (growing is self._text or not self._text.length)
            finish = partial(growing.finish, is_cut=is_cut)
            if growing.length <= OFF_LOOP_CHARS:
                ops += self._ops(part, finish())
            else:
                ops += self._ops(part, await self._off_loop(finish))
        self._publish(ops)

    async def _off_loop(self, render: Callable[[], list[Patch]]) -> list[Patch]:
        self._is_rendering = True
        try:
            return await sync_to_async(render, thread_sensitive=False)()
        finally:
            self._is_rendering = False

    def _ops(self, part: str, patches: list[Patch]) -> list[Op]:
        return [[p.kind, self.uuid, part, p.index, p.at, p.html] for p in patches]

    def _publish(self, ops: list[Op]) -> None:
        if ops:
            self._flush += 1
            self._recent.append(ops)
            self._wake()

    def _wake(self) -> None:
        for wake in self.wakes:
            wake()


class LiveReplies:
    """The replies that somebody in this process watches now."""

    def __init__(self) -> None:
        self._replies: dict[int, LiveReply] = {}

    def watch(self, message: Message, wake: Callable[[], None]) -> LiveReply:
        """Have `wake` called whenever there is news of a running reply, until `leave`."""
        assert message.generation_id is not None
        reply = self._replies.get(message.generation_id)
        if reply is None:
            reply = self._replies[message.generation_id] = LiveReply(message.generation_id, message)
        reply.wakes.add(wake)
        return reply

    def leave(self, reply: LiveReply, wake: Callable[[], None]) -> None:
        reply.wakes.discard(wake)
        if not reply.wakes:
            reply.task.cancel()
            self._replies.pop(reply.generation, None)


def _read(generation: int) -> tuple[str, str, bool, bool] | None:
    row = Generation.objects.select_related("message__generation").filter(pk=generation).first()
    if row is None or row.message.deleted_at is not None:
        return None
    message, is_open = row.message, row.status == Message.Status.STREAMING
    return message.reasoning, message.text, is_open, message.is_cut


live_replies = LiveReplies()
