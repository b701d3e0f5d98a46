"""A page as static/js/socket.js keeps it, without a browser: it loads, watches, applies, returns.

It is stricter than a browser: frames must be numbered without a hole, every op must be one that
socket.js knows, and at every frame the numbered words of a reply (replies.py) must run on without a
gap or a repeat. What breaks that is kept in `complaints`.
"""

import asyncio
import json
import random
import re
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import httpx
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidMessage

from tests.chaos.shown import Op, Shown
from tests.server import ENDED

SILENCE_S, CONNECT_S, RETRY_S = 8.0, 1.5, 1.0
ACK_S, ACK_CHARS = 0.25, 64 * 1024
WORD = re.compile(r"k(\d+)\.")


class Page:
    """One tab of somebody's on one conversation. `base_url` is the way it takes to the server."""

    def __init__(
        self,
        http: httpx.AsyncClient,
        path: str,
        seed: int,
        now: Callable[[], float] = time.monotonic,
        *,
        acknowledges: bool = True,
        loses: Callable[[Op], bool] = lambda op: False,
        hears_close: Callable[[int], int] = lambda code: code,
    ) -> None:
        self.http, self.path, self._now = http, path, now
        self.acknowledges = acknowledges
        # Planted bugs: ops that never come, close codes that come as others.
        self._loses, self._hears_close = loses, hears_close
        self._random = random.Random(seed)
        self.connection = "connecting"
        self.complaints: list[str] = []
        self.closes: list[tuple[float, int]] = []  # monotonic, code
        self.opens = 0
        self.received_chars = 0
        # By message: what the page had of a running reply, since when by the world's clock, and
        # through which of its sockets it came.
        self.seen: dict[str, list[tuple[int, int, float, int]]] = {}
        self.unsaved_at: dict[str, float] = {}
        self.status = 0  # of the last load
        self._socket: ClientConnection | None = None
        self._task: asyncio.Task[None] | None = None
        self._cursors: dict[str, list[int]] = {}
        self._hurry = asyncio.Event()
        self._read_at = 0.0

    # --- its life -----------------------------------------------------------------------------

    async def open(self) -> "Page":
        await self.load()
        if self.status == 200:
            self._task = asyncio.create_task(self._live())
            self._task.add_done_callback(self._note_end)
        return self

    def _note_end(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (failure := task.exception()):
            self.complaints.append(f"this page itself broke down: {failure!r}")

    async def load(self) -> None:
        """GET, again until the server answers, as a person would."""
        while True:
            try:
                answer = await self.http.get(self.path)
            except httpx.TransportError:
                await asyncio.sleep(0.2)
                continue
            if answer.status_code < 500:
                break
            await asyncio.sleep(0.2)
        self.status = answer.status_code
        if self.status != 200:
            self.connection = "gone"
            return
        self.shown = Shown(answer.text)
        self._cursors = {}
        self._look()

    async def reload(self) -> None:
        await self.close()
        self.connection = "connecting"
        await self.open()

    def reconnect(self) -> None:
        """Lose the connection; coming back is the page's own doing."""
        if self._socket is not None:
            self._socket.transport.abort()

    def hurry(self) -> None:
        """Don't wait for the next try: the browser says that it is online."""
        self._hurry.set()

    async def speak(self) -> None:
        """Acknowledge from now on what a silent page has kept quiet about."""
        self.acknowledges = True
        if self._socket is not None:
            await self._acknowledge(self._socket)

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task
            self._task = None

    # --- what it shows ------------------------------------------------------------------------

    @property
    def html(self) -> str:
        return self.shown.messages.html

    def has(self, message: str, reasoning: int, text: int) -> bool:
        """Whether it shows at least so much of a reply."""
        if self.shown.status_of(message) in ENDED:
            return True
        cursor = self._cursors.get(message, [0, 0, 0])
        return cursor[1] >= reasoning and cursor[2] >= text

    def seen_until(self, message: str, moment: float, past_socket: int = 0) -> tuple[int, int]:
        """Lengths of reasoning and text that it had by then, through sockets after that one."""
        had = [
            (reasoning, text)
            for reasoning, text, when, socket in self.seen.get(message, [])
            if when <= moment and socket > past_socket
        ]
        return had[-1] if had else (0, 0)

    # --- the connection -----------------------------------------------------------------------

    async def _live(self) -> None:
        while self.connection not in ("over", "gone"):
            try:
                async with asyncio.timeout(CONNECT_S):
                    self._socket = await self._connect()
            except TimeoutError:
                self.connection = "offline"
                continue
            except (OSError, InvalidHandshake, InvalidMessage, EOFError):
                await self._pause()
                continue
            try:
                await self._hear_all(self._socket)
            finally:
                socket, self._socket = self._socket, None
                socket.transport.abort()

    def _connect(self) -> connect:
        url = str(self.http.base_url).rstrip("/")
        cookies = "; ".join(f"{c.name}={c.value}" for c in self.http.cookies.jar)
        return connect(
            url.replace("http", "ws", 1) + "/ws/",
            additional_headers={"Origin": url, "Cookie": cookies, "Accept-Language": "en"},
            proxy=None,
            max_size=None,
            ping_interval=None,
            open_timeout=None,
        )

    async def _pause(self) -> None:
        self.connection = "connecting"
        self._hurry.clear()
        with suppress(TimeoutError):
            async with asyncio.timeout(RETRY_S * (0.3 + 0.7 * self._random.random())):
                await self._hurry.wait()

    async def _hear_all(self, socket: ClientConnection) -> None:
        self.opens += 1
        self._last = self._acked = self._unacked = 0
        self._ack_due: asyncio.TimerHandle | None = None
        expected = 1
        try:
            while True:
                async with asyncio.timeout(SILENCE_S):
                    text = str(await socket.recv())
                frame = json.loads(text)
                if frame["n"] != expected:
                    self.complaints.append(f"frame {frame['n']} came instead of {expected}")
                expected = frame["n"] + 1
                await self._hear(socket, frame, len(text))
        except TimeoutError:
            self.connection = "offline"
        except ConnectionClosed:
            code = self._hears_close(socket.close_code or 1006)
            self.closes.append((time.monotonic(), code))
            if code == 4401:
                self.connection = "over"
            elif code == 4404:
                self.connection = "gone"
            else:
                await self._pause()
        finally:
            if self._ack_due:
                self._ack_due.cancel()

    async def _hear(self, socket: ClientConnection, frame: dict[str, Any], size: int) -> None:
        self.received_chars += size
        if "error" in frame:
            self.complaints.append(f"the server says {frame['error']!r}")
        if hello := frame.get("hello"):
            if hello.get("protocol") != self.shown.protocol:
                self.complaints.append(f"hello {hello} to a page of protocol {self.shown.protocol}")
            await self._watch(socket)
            self.connection = "live"
        is_whole = True
        for op in frame.get("ops", []):
            if self._loses(op):
                continue
            is_whole = self.shown.apply(op) and is_whole
        if not is_whole:
            self.shown.state["data-version"] = "0"
            self._cursors.clear()
            await self._watch(socket)
            return
        self._cursors |= frame.get("cursors", {})
        if frame.get("ops"):
            self._look()
        self._last = frame["n"]
        self._unacked += size
        if not self.acknowledges:
            return
        if self._unacked > ACK_CHARS:
            await self._acknowledge(socket)
        elif self._ack_due is None:
            loop = asyncio.get_running_loop()
            self._ack_due = loop.call_later(ACK_S, self._acknowledge_later, socket)

    async def _watch(self, socket: ClientConnection) -> None:
        running = {m: c for m, c in self._cursors.items() if self.shown.status_of(m) == "streaming"}
        self._cursors = running
        await socket.send(
            json.dumps(
                {
                    "watch": {
                        "protocol": self.shown.protocol,
                        "conversation": self.shown.state.get("data-conversation"),
                        "version": self.shown.version,
                        "sidebar": int(self.shown.sidebar["data-version"]),
                        "cursors": running,
                    }
                }
            )
        )

    def _acknowledge_later(self, socket: ClientConnection) -> None:
        self._acking = asyncio.ensure_future(self._acknowledge(socket))

    async def _acknowledge(self, socket: ClientConnection) -> None:
        if self._ack_due:
            self._ack_due.cancel()
        self._ack_due, self._unacked = None, 0
        if self._last > self._acked:
            self._acked = self._last
            with suppress(ConnectionClosed):
                await socket.send(json.dumps({"ack": self._last}))

    def _look(self) -> None:
        """Note what is shown, and that its numbered words run on."""
        now = time.monotonic()
        is_due = now > self._read_at + 0.1
        if is_due:
            self._read_at = now
        for article in self.shown.messages.elements:
            if article.get("data-role") != "assistant":
                continue
            message = article["data-message"]
            if article.get("data-saved") == "false":
                self.unsaved_at.setdefault(message, now)
            cursor = self._cursors.get(message)
            if cursor and article["data-status"] == "streaming":
                had = (cursor[1], cursor[2], self._now(), self.opens)
                self.seen.setdefault(message, []).append(had)
            for part in ("b", "rb") if is_due else ():
                shown = self.shown.part(message, part)
                numbers = [int(n) for n in WORD.findall(shown.text)] if shown else []
                if numbers != list(range(len(numbers))):
                    at = next(i for i, n in enumerate(numbers) if n != i)
                    around = numbers[max(0, at - 2) : at + 3]
                    self.complaints.append(f"{part} of {message} runs ... {around} ... at {at}")
