"""The one socket of a page: it watches, it never works.

Down go numbered frames, {"n": 1, "ops": [...], "cursors": {...}}: changes to the page, each of which
may be applied twice or late and leaves the page the same, and what the page then has of the replies
that run. Up come {"watch": {...}} and {"ack": n}. Nothing long is awaited in a handler: `_pump` is a
task of its own, and it doesn't wait for the database either, without which text goes on. What an op
is stands in static/js/socket.js.
"""

import asyncio
import contextvars
import json
import logging
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import msgspec
from channels.consumer import get_handler_name
from channels.exceptions import StopConsumer
from channels.generic.websocket import AsyncWebsocketConsumer
from django.db import DatabaseError, InterfaceError

from chat.models import bells
from chat.rendering.thread import Shown
from chat.replies.database import in_database
from chat.replies.process import process

from . import changes
from .live import LiveReply, Op, Position, live_replies
from .rights import Session, rights

logger = logging.getLogger(__name__)
PROTOCOL = 4
BEAT_S = 5.0
WINDOW_BYTES = 256 * 1024
# Heads of frames and answers to pings, which aren't acknowledged.
CONTROL_BYTES = 4 * 1024
ACK_WITHIN_S = 30.0
MAX_FRAME_CHARS = 16 * 1024
FRAMES_A_SECOND = 40
ASK_AGAIN_S = 0.5
# A question that is asked is taken up at once: two changes, and most that happens comes in such pairs.
SETTLE_S = 0.025
# The sidebar is rendered once the first words of what changed it are on their way.
BESIDE_S = 0.1

NOT_LOGGED_IN, GONE, TOO_FAST = 4401, 4404, 4429
TOO_BIG, RESTARTING, TRY_LATER = 1009, 1012, 1013

open_sockets: set["Socket"] = set()


@dataclass
class _Question:
    """What changed beside the running text? Asked of the database, and answered in its own time."""

    following: dict[str, changes.Followed]
    ended: list[LiveReply]
    answer: asyncio.Task[changes.Found | None]


class Socket(AsyncWebsocketConsumer):
    async def __call__(
        self,
        scope: dict[str, Any],
        receive: Callable[[], Awaitable[dict[str, Any]]],
        send: Callable[[dict[str, Any]], Awaitable[None]],
    ) -> None:
        """Channels', without a task to wait for each frame and a thread to look for old connections.

        There is no channel layer to hear beside the socket, and no handler asks the database here.
        """
        self.scope, self.base_send = scope, send
        with suppress(StopConsumer):
            while True:
                message = await receive()
                await getattr(self, get_handler_name(message))(message)

    async def connect(self) -> None:
        await self.accept()
        self._pumping: asyncio.Task[None] | None = None
        if process.is_draining:
            await self.close(RESTARTING)
            return
        self._news: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        session = Session.of_scope(self.scope)
        self.scope["headers"] = ()  # two kilobytes that nobody reads again
        try:
            user = await rights.watch(self, session, self._end_session)
        except (DatabaseError, InterfaceError) as error:
            logger.warning("A socket can't be opened without the database: %s", error)
            await self.close(TRY_LATER)
            return
        if user is None:
            await self.close(NOT_LOGGED_IN)
            return
        self._user = user
        self._language = session.language
        self._is_over = False
        self._is_broken = False
        self._alarm: asyncio.TimerHandle | None = None
        self._alarm_at = 0.0  # monotonic
        # Of `serve`: the bytes that this reader leaves with us, and a way to write that takes no
        # task's turn. Without that one frames wait for the pump.
        self._unread: Callable[[], int] = self.scope.get("potok.unread", int)
        self._write: Callable[[bytes], None] = self.scope.get("potok.write", self._write_later)
        self._unwritten: list[bytes] = []
        self._n = 0
        self._sent: list[tuple[int, int, float]] = []  # unacknowledged: number, bytes, when
        self._unacked_bytes = 0
        self._page: changes.Page | None = None
        self._wanted: changes.Page | None = None
        self._following: dict[LiveReply, Position] = {}
        self._is_rung = False
        self._question: _Question | None = None
        # Monotonic: the next question, after one that had no answer; and of what bells tell.
        self._not_before = self._settled_at = 0.0
        # When to ask for what stands beside the conversation, where that changed.
        self._beside_at: float | None = None
        # What the page was told of running replies, and as what they were shown.
        self._told: dict[str, tuple[str, bool]] = {}
        self._shown: dict[str, Shown] = {}
        self._allowance = float(FRAMES_A_SECOND)
        self._refilled = time.monotonic()
        self._group = bells.user_group(self._user)
        bells.listen(self._group, self._hear_bell)
        open_sockets.add(self)
        self._send_frame({"hello": {"protocol": PROTOCOL}})
        self._pumping = asyncio.get_running_loop().create_task(
            self._pump(), context=contextvars.Context(), name="socket"
        )

    async def disconnect(self, _code: int) -> None:
        open_sockets.discard(self)
        rights.forget(self)
        if self._pumping is None:
            return
        self._pumping.cancel()
        self._set_alarm(None)
        self._forget_question()
        self._leave_all()
        bells.forget(self._group, self._hear_bell)

    # --- what comes in ------------------------------------------------------------------------

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        if self._pumping is None:
            return
        if not self._has_allowance():
            await self.close(TOO_FAST)
            return
        if len(text_data or bytes_data or "") > MAX_FRAME_CHARS:
            await self.close(TOO_BIG)
            return
        try:
            message = json.loads(text_data or "")
            if not isinstance(message, dict):
                raise ValueError("not an object")
            name = next((name for name in self.frames if name in message), None)
            if name is None:
                raise ValueError("no frame of ours")
            self.frames[name](self, message[name])
        except (ValueError, RecursionError):
            self._send_frame({"error": "This frame was not understood."})

    def _watch(self, wanted: Any) -> None:
        page = changes.Page.parse(wanted, self._language)
        # A page of another version has learned so from the hello, and would misread what changed.
        if wanted.get("protocol", PROTOCOL) == PROTOCOL:
            self._wanted = page
            self._poke()

    def _acknowledge(self, number: Any) -> None:
        if not isinstance(number, int) or isinstance(number, bool):
            raise ValueError("not a number")
        if number > self._n or self._unread() > self._bytes_after(number) + CONTROL_BYTES:
            raise ValueError("not read yet")
        while self._sent and self._sent[0][0] <= number:
            self._unacked_bytes -= self._sent.pop(0)[1]
        self._poke()

    # All that a page may say; who may is in the table of tests/access.py.
    frames = {"watch": _watch, "ack": _acknowledge}

    def _bytes_after(self, number: int) -> int:
        return sum(size for n, size, _ in self._sent if n > number)

    def _hear_bell(self, _note: dict[str, Any]) -> None:
        if not self._is_rung:
            self._is_rung, self._settled_at = True, time.monotonic() + SETTLE_S
        self._poke()

    def _end_session(self) -> None:
        self._is_over = True
        self._poke()

    def _has_allowance(self) -> bool:
        now = time.monotonic()
        refill = (now - self._refilled) * FRAMES_A_SECOND
        self._allowance = min(self._allowance + refill, FRAMES_A_SECOND)
        self._refilled = now
        self._allowance -= 1
        return self._allowance >= 0

    # --- what goes out ------------------------------------------------------------------------

    async def _pump(self) -> None:
        """Bring the page to the latest state, again each time that something changes."""
        try:
            await self._pump_forever()
        except asyncio.CancelledError:
            raise
        except Exception:
            logger.exception("A socket failed")
            await self.close(1011)

    async def _pump_forever(self) -> None:
        beat = time.monotonic()
        while True:
            while self._unwritten:
                await self.send(self._unwritten.pop(0).decode())
            await self._wait(beat + BEAT_S)
            now = time.monotonic()
            if self._is_broken:
                await self.close(1011)
                return
            if self._is_over:
                await self.close(NOT_LOGGED_IN)
                return
            if self._sent and now - self._sent[0][2] > ACK_WITHIN_S:
                await self.close(TRY_LATER)
                return
            if now >= beat + BEAT_S:
                beat = now
                self._send_frame({"beat": True})
            if self._wanted is not None:
                self._page, self._wanted, self._beside_at = self._wanted, None, None
                self._forget_question()
                self._leave_all()
                self._is_rung = True
            if self._page is not None and self._has_room:
                await self._update()

    async def _wait(self, until: float) -> None:
        """For a bell, a frame from the page, news of a followed reply, or the time."""
        if self._has_room and self._is_rung and self._question is None:
            until = min(until, max(self._not_before, self._settled_at))
        if self._has_room and self._beside_at is not None and self._question is None:
            until = min(until, self._beside_at)
        # One that rings too early is looked at for nothing, every few seconds and not at each delta.
        if self._alarm is None or until < self._alarm_at:
            self._set_alarm(until)
        await self._news
        self._news = asyncio.get_running_loop().create_future()

    def _set_alarm(self, at: float | None) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None
        if at is not None:
            loop = asyncio.get_running_loop()
            self._alarm_at = at
            self._alarm = loop.call_later(max(0.0, at - time.monotonic()), self._ring)

    def _ring(self) -> None:
        self._alarm = None
        self._poke()

    @property
    def _has_room(self) -> bool:
        """Whether to render more: not for whoever hasn't read what there is, whatever it says."""
        return self._unacked_bytes < WINDOW_BYTES and self._unread() <= CONTROL_BYTES

    def _hear_reply(self) -> None:
        """Sends at once what is new, but where the pump is about to: a turn of it costs as much."""
        if self._news.done() or not self._has_room:
            return
        try:
            self._send_news()
            if any(reply.is_done for reply in self._following):
                self._poke()
        except Exception:
            # Of this page alone: who calls has others to tell.
            logger.exception("A socket failed")
            self._is_broken = True
            self._poke()

    def _poke(self) -> None:
        if not self._news.done():
            self._news.set_result(None)

    def _send_news(self) -> None:
        """Of the replies that are followed; whatever else is due is the pump's."""
        ops, cursors = self._live_ops()
        if ops:
            self._send_frame({"ops": ops, "cursors": cursors})
        self._tell()

    async def _update(self) -> None:
        self._send_news()
        ended = [reply for reply in self._following if reply.is_done]
        if self._question is not None and self._question.answer.done():
            await self._take_answer()
            ended = [reply for reply in ended if reply in self._following]
        now = time.monotonic()
        is_due = ended or (self._is_rung and now >= self._settled_at)
        if self._question is not None or now < self._not_before:
            return
        if is_due:
            self._ask(ended)
        elif self._beside_at is not None and now >= self._beside_at:
            self._beside_at = None
            self._expect({}, [], in_database(changes.beside)(self._user, self._page))

    def _live_ops(self) -> tuple[list[Op], dict[str, tuple[int, int, int]]]:
        ops: list[Op] = []
        cursors = {}
        for reply, position in self._following.items():
            news, here = reply.since(position)
            if news:
                ops += news
                cursors[reply.uuid] = (reply.generation, here.reasoning, here.text)
            self._following[reply] = here
        return ops, cursors

    def _tell(self) -> None:
        """How running replies go where no text says so, the database away or not."""
        assert self._page is not None
        ops = []
        for reply in self._following:
            state = (reply.note, reply.saved)
            if state != self._told.get(reply.uuid) and reply.uuid in self._shown:
                followed = changes.Followed(*state, is_done=False, is_broken=False)
                ops.append(changes.around(self._shown[reply.uuid], self._page, followed))
                self._told[reply.uuid] = state
        if ops:
            self._send_frame({"ops": ops})

    def _ask(self, ended: list[LiveReply]) -> None:
        """For everything that changed beside the running text, by the ordinary rendering."""
        assert self._page is not None
        self._is_rung = False
        following = {
            reply.uuid: changes.Followed(reply.note, reply.saved, reply in ended, reply.is_broken)
            for reply in self._following
        }
        asking = in_database(changes.since)(self._user, self._page, following)
        self._expect(following, ended, asking)

    def _expect(
        self,
        following: dict[str, changes.Followed],
        ended: list[LiveReply],
        asking: Awaitable[changes.Found | None],
    ) -> None:
        answer = asyncio.ensure_future(asking)
        answer.add_done_callback(self._hear_answer)
        self._question = _Question(following, ended, answer)

    def _hear_answer(self, answer: asyncio.Task[changes.Found | None]) -> None:
        if not answer.cancelled():
            answer.exception()  # looked at, should nobody want it any more
        self._poke()

    async def _take_answer(self) -> None:
        assert self._question is not None
        question, self._question = self._question, None
        try:
            found = question.answer.result()
        except (DatabaseError, InterfaceError) as error:
            logger.warning("A page waits for the database: %s", error)
            self._is_rung, self._not_before = True, time.monotonic() + ASK_AGAIN_S
            return
        if found is None:
            await self.close(GONE)
            return
        if found.ops:
            self._send_frame({"ops": found.ops})
        self._page = found.page
        gone = [r for r in self._following if found.is_all and r.uuid not in found.afresh]
        for reply in {*question.ended, *gone}:
            self._leave(reply)
        for uuid in {op[1] for op in found.ops if op[0] == "shell"}:
            followed = question.following[uuid]
            self._told[uuid] = (followed.note, followed.saved)
        for reply in self._following:
            if reply.uuid in found.afresh:
                self._told.pop(reply.uuid, None)
                self._following[reply] = Position()
        for m in found.running:
            self._shown[str(m.uuid)] = changes.without_text(m)
            if all(reply.uuid != str(m.uuid) for reply in self._following):
                reply = live_replies.watch(m.row, self._hear_reply)
                is_afresh = reply.uuid in found.afresh
                self._following[reply] = Position() if is_afresh else found.page.position_of(m.row)
        if found.is_part and self._beside_at is None:
            self._beside_at = time.monotonic() + BESIDE_S
        self._poke()

    def _forget_question(self) -> None:
        if self._question is not None:
            self._question.answer.cancel()
            self._question = None

    def _send_frame(self, content: dict[str, Any]) -> None:
        self._n += 1
        encoded = msgspec.json.encode({"n": self._n, **content})
        self._sent.append((self._n, len(encoded), time.monotonic()))
        self._unacked_bytes += len(encoded)
        self._write(encoded)

    def _write_later(self, encoded: bytes) -> None:
        self._unwritten.append(encoded)
        self._poke()

    def _leave_all(self) -> None:
        for reply in list(self._following):
            self._leave(reply)

    def _leave(self, reply: LiveReply) -> None:
        del self._following[reply]
        self._told.pop(reply.uuid, None)
        self._shown.pop(reply.uuid, None)
        live_replies.leave(reply, self._hear_reply)


def _look_soon(_note: dict[str, Any]) -> None:
    global _looking
    if open_sockets and (_looking is None or _looking.done()):
        loop = asyncio.get_running_loop()
        _looking = loop.create_task(_look(), context=contextvars.Context(), name="look")


async def _look() -> None:
    """Bells may be lost: wake the sockets whose page isn't of the latest version."""
    pages = {each: (each._user, each._page) for each in open_sockets if each._page is not None}
    try:
        late = await in_database(changes.behind)(pages)
    except (DatabaseError, InterfaceError) as error:
        logger.warning("Pages could not be looked at: %s", error)
        return
    for socket in late:
        socket._hear_bell({})


_looking: asyncio.Task[None] | None = None
bells.listen(bells.LOST, _look_soon)


async def close_all() -> None:
    """Tell every page that this process restarts; they come back by themselves."""
    for socket in list(open_sockets):
        try:
            await socket.close(RESTARTING)
        except Exception:  # of one page, and the others are to hear of it all the same
            logger.exception("A socket could not be closed")
    # The close frames leave with the loop's next turns.
    await asyncio.sleep(0.2)
