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

from tests.chaos.dom import Element, parse, utf16
from tests.server import ENDED

SILENCE_S, CONNECT_S, RETRY_S = 8.0, 1.5, 1.0
ACK_S, ACK_CHARS = 0.25, 64 * 1024
WORD = re.compile(r"\bk(\d+)\.")

Op = list[Any]


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
            break
        self.status = answer.status_code
        if self.status != 200:
            self.connection = "gone"
            return
        root = parse(answer.text)
        self.root = root
        self.messages = self._at(root, "messages")
        self.state = self._at(root, "state").attributes
        self.sidebar = self._at(root, "sidebar").attributes
        body = root.find(lambda each: each.tag == "body")
        assert body
        self.protocol = int(body["data-protocol"])
        self.reasoning = self._at(root, "reasoning").inner_html.strip()
        self._cursors = {}
        self._look()

    def _at(self, root: Element, id_: str) -> Element:
        found = root.by_id(id_)
        assert found is not None, f"{self.path} has no #{id_}"
        return found

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
        return self.messages.html

    def article(self, message: str) -> Element | None:
        return _child(self.messages, f"m-{message}")

    def part(self, message: str, part: str) -> Element | None:
        """The element that holds the blocks of the text ("b") or of the reasoning ("rb")."""
        article = self.article(message)
        if article is None or part == "b":
            return article and _child(article, f"m-{message}-b")
        details = _child(article, f"m-{message}-r")
        return details and _child(details, f"m-{message}-rb")

    def block_of(self, message: str, part: str, index: int) -> Element | None:
        parent = self.part(message, part)
        return parent and _child(parent, f"m-{message}-{part}-{index}")

    def status_of(self, message: str) -> str:
        article = self.article(message)
        return article["data-status"] if article else ""

    def has(self, message: str, reasoning: int, text: int) -> bool:
        """Whether it shows at least so much of a reply."""
        if self.status_of(message) in ENDED:
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
            if hello.get("protocol") != self.protocol:
                self.complaints.append(f"hello {hello} to a page of protocol {self.protocol}")
            await self._watch(socket)
            self.connection = "live"
        is_whole = True
        for op in frame.get("ops", []):
            if self._loses(op):
                continue
            if op[0] not in OPS:
                self.complaints.append(f"an unknown op {op[0]!r}")
                continue
            is_whole = OPS[op[0]](self, *op[1:]) is not False and is_whole
        if not is_whole:
            self.state["data-version"] = "0"
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
        running = {m: c for m, c in self._cursors.items() if self.status_of(m) == "streaming"}
        self._cursors = running
        await socket.send(
            json.dumps(
                {
                    "watch": {
                        "protocol": self.protocol,
                        "conversation": self.state.get("data-conversation"),
                        "version": int(self.state.get("data-version") or 0),
                        "sidebar": int(self.sidebar["data-version"]),
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
        for article in self.messages.elements:
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
                shown = self.part(message, part)
                numbers = [int(n) for n in WORD.findall(shown.text)] if shown else []
                if numbers != list(range(len(numbers))):
                    at = next(i for i, n in enumerate(numbers) if n != i)
                    around = numbers[max(0, at - 2) : at + 3]
                    self.complaints.append(f"{part} of {message} runs ... {around} ... at {at}")

    # --- ops, as in socket.js -------------------------------------------------------------------

    def _blocks(self, message: str, part: str) -> Element | None:
        found = self.part(message, part)
        if found or part == "b":
            return found
        if (body := self.part(message, "b")) is None:
            return None
        body.before(*parse(self.reasoning.replace("m--", f"m-{message}-")).children)
        return self.part(message, part)

    def block(self, message: str, part: str, index: int, _at: int, html: str) -> bool:
        if (parent := self._blocks(message, part)) is None:
            return False
        id_ = f"m-{message}-{part}-{index}"
        old = _child(parent, id_)
        if old is None and len(parent.elements) != index:
            return False
        new = Element("div", {"class": "block", "id": id_})
        new.fill(parse(html).children)
        if old is None:
            parent.append(new)
        else:
            old.replace(new)
        return True

    def text(self, message: str, part: str, index: int, at: int, html: str) -> bool:
        block = self.block_of(message, part, index)
        code = block.find(_matcher("pre code")) if block else None
        if code is None:
            return False
        text, length = parse(html).text, utf16(code.text)
        if length >= at + utf16(text):
            return True
        if length < at:
            return False
        news = text.encode("utf-16-le")[2 * (length - at) :].decode("utf-16-le", "surrogatepass")
        code.append(news)
        return True

    def item(self, message: str, part: str, index: int, at: int, html: str) -> bool:
        block = self.block_of(message, part, index)
        found = block and (block.find(_matcher("tbody")) or block.find(_matcher("ul, ol")))
        if not found or len(found.elements) < at:
            return False
        item = parse(html).find(_matcher("tr, li"))
        assert item
        if at < len(found.elements):
            found.elements[at].replace(item)
        else:
            found.append(item)
        return True

    def trim(self, message: str, part: str, index: int, *_: object) -> None:
        if parent := self.part(message, part):
            for late in parent.elements[index:]:
                late.remove()

    def shell(self, message: str, version: int, html: str) -> bool:
        if (old := self.article(message)) is None:
            return False
        if int(old["data-version"]) > version:
            return True
        shell = parse(html).elements[0]
        for name in set(old.attributes) - set(shell.attributes):
            del old.attributes[name]
        old.attributes |= shell.attributes
        foot, new = _child(old, f"m-{message}-f"), _child(shell, f"m-{message}-f")
        assert foot
        assert new
        foot.replace(new)
        return True

    def put_article(self, message: str, version: int, after: str | None, html: str) -> bool:
        old = self.article(message)
        if old is not None and int(old["data-version"]) >= version:
            return True
        new = parse(html).children
        if old is not None:
            old.replace(*new)
            return True
        before = self.article(after) if after else None
        if after and before is None:
            return False
        if before:
            before.after(*new)
        else:
            self.messages.fill([*new, *self.messages.children])
        return True

    def thread(self, version: int, html: str) -> None:
        if (mine := int(self.state.get("data-version") or 0)) and mine >= version:
            return
        self.state["data-version"] = str(version)
        self.messages.fill(parse(html).children)

    def put_sidebar(self, version: int, _html: str) -> None:
        self.sidebar["data-version"] = str(max(version, int(self.sidebar["data-version"])))

    def title(self, version: int, _title: str) -> None:
        if int(self.state.get("data-version") or 0) < version:
            self.state["data-version"] = str(version)


OPS: dict[str, Callable[..., bool | None]] = {
    "block": Page.block,
    "text": Page.text,
    "item": Page.item,
    "trim": Page.trim,
    "shell": Page.shell,
    "article": Page.put_article,
    "thread": Page.thread,
    "sidebar": Page.put_sidebar,
    "title": Page.title,
}


def _child(parent: Element, id_: str) -> Element | None:
    return next((each for each in parent.elements if each.attributes.get("id") == id_), None)


def _matcher(selectors: str) -> Callable[[Element], bool]:
    """querySelector for tags and one descendant step."""
    ways = [selector.split() for selector in selectors.split(", ")]

    def fits(element: Element) -> bool:
        return any(element.tag == way[-1] and _is_within(element, way[:-1]) for way in ways)

    return fits


def _is_within(element: Element, tags: list[str]) -> bool:
    if not tags:
        return True
    step = element.parent
    while step is not None and step.tag != tags[-1]:
        step = step.parent
    return step is not None
