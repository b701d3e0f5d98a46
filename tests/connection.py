"""The wire side of the scripted gateway: one HTTP/1.1 connection, each answer by its script."""

import asyncio
import json
import socket
import struct
import threading
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

from tests.script import Drop, Every, Flood, Gate, Hang, Head, Reasoning, Step, chunk


class Call:
    """One request as it came, and what became of it."""

    def __init__(self, method: str, path: str, headers: dict[str, str], body: bytes) -> None:
        self.method, self.path, self.headers, self.body = method, path, headers, body
        self.text = ""  # the deltas of text and of reasoning sent so far
        self.reasoning = ""
        self.sent_bytes = 0
        self.closed_by_client = False
        self.closed_at: float | None = None  # time.monotonic()
        self._closed = threading.Event()
        self._answered = threading.Event()

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def prompt(self) -> str:
        """The text of the last message."""
        return str(self.json["messages"][-1]["content"])

    def wait_closed(self, deadline_s: float = 10) -> None:
        """The client has closed the connection before the answer was whole."""
        assert self._closed.wait(deadline_s), f"the client keeps {self.path} open"
        assert self.closed_by_client

    def wait_answered(self, deadline_s: float = 10) -> None:
        """The last step of the script is done."""
        assert self._answered.wait(deadline_s), f"{self.path} is not answered to its end"


class Connection(asyncio.Protocol):
    """One client connection: requests one after another, each answered by its steps."""

    def __init__(
        self,
        steps_for: Callable[[Call], tuple[Step, ...]],
        adopt: Callable[[asyncio.Task[None]], None],
    ) -> None:
        self._steps_for, self._adopt = steps_for, adopt
        self._buffer = b""
        self._news = asyncio.Event()  # bytes came, or the client has closed
        self._gone = asyncio.Event()
        self._writable = asyncio.Event()
        self._writable.set()
        self._call: Call | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        # No buffer of our own: what write() was given is with the kernel before the next step.
        transport.set_write_buffer_limits(0)
        self._adopt(asyncio.get_running_loop().create_task(self._run()))

    def data_received(self, received: bytes) -> None:
        self._buffer += received
        self._news.set()

    def eof_received(self) -> None:
        self._note_close()

    def connection_lost(self, exc: Exception | None) -> None:
        self._note_close()
        self._writable.set()

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    def _note_close(self) -> None:
        self._gone.set()
        self._news.set()
        call = self._call
        if call and not call._answered.is_set() and not call._closed.is_set():
            call.closed_by_client, call.closed_at = True, time.monotonic()
            call._closed.set()

    async def _run(self) -> None:
        try:
            async for call in self._requests():
                self._call = call
                await self._answer(call, self._steps_for(call))
                call._answered.set()
        except ConnectionError:
            pass  # the client's close was noted; there is nobody left to answer
        finally:
            self._transport.close()

    async def _requests(self) -> AsyncIterator[Call]:
        while not self._gone.is_set():
            while b"\r\n\r\n" not in self._buffer:
                await self._more()
            head, _, self._buffer = self._buffer.partition(b"\r\n\r\n")
            request, *lines = head.decode("latin-1").split("\r\n")
            pairs = (line.split(":", 1) for line in lines)
            headers = {name.lower(): value.strip() for name, value in pairs}
            size = int(headers.get("content-length", 0))
            while len(self._buffer) < size:
                await self._more()
            body, self._buffer = self._buffer[:size], self._buffer[size:]
            method, target, _version = request.split(" ")
            yield Call(method, target.partition("?")[0], headers, body)

    async def _more(self) -> None:
        """Until bytes come; ConnectionResetError once the client has closed."""
        if self._gone.is_set():
            raise ConnectionResetError
        self._news.clear()
        await self._news.wait()

    async def _answer(self, call: Call, steps: tuple[Step, ...]) -> None:
        head = steps[0] if steps and isinstance(steps[0], Head) else Head()
        names = {name.lower() for name in head.headers}
        self._chunked = "content-length" not in names
        defaults = {} if "content-type" in names else {"Content-Type": "text/event-stream"}
        framing = {"Transfer-Encoding": "chunked"} if self._chunked else {}
        headers = defaults | framing | dict(head.headers)
        lines = [f"{name}: {value}" for name, value in headers.items()]
        # The head leaves with the first bytes or at the first wait, as with real servers.
        self._pending = "\r\n".join([f"HTTP/1.1 {head.status} Scripted", *lines, "", ""]).encode()
        for step in steps:
            await self._take(call, step)
        # Without a body the head has not left yet.
        await self._write(call, b"0\r\n\r\n" if self._chunked else b"")

    async def _take(self, call: Call, step: Step) -> None:
        match step:
            case Head():
                pass
            case str():
                call.text += step
                await self._send(call, chunk({"content": step}))
            case Reasoning(text):
                call.reasoning += text
                await self._send(call, chunk({"reasoning_content": text}))
            case bytes():
                await self._send(call, step)
            case Flood(chunks):
                for part in chunks:
                    await self._send(call, part)
            case Every(part, every_s):
                while True:
                    await self._send(call, part)
                    await self._until_gone_or(asyncio.sleep(every_s))
            case Gate():
                await self._write(call, b"")
                step.reached.set()
                await self._until_gone_or(step.opened.wait())
            case Hang():
                await self._write(call, b"")
                await self._until_gone_or(asyncio.Event().wait())
            case Drop(reset):
                await self._write(call, b"")
                if reset:
                    linger = struct.pack("ii", 1, 0)
                    raw = self._transport.get_extra_info("socket")
                    raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                call._answered.set()
                raise ConnectionAbortedError

    async def _send(self, call: Call, body: bytes) -> None:
        if body:
            await self._write(call, b"%x\r\n%b\r\n" % (len(body), body) if self._chunked else body)

    async def _write(self, call: Call, raw: bytes) -> None:
        if self._gone.is_set():
            raise ConnectionResetError
        raw, self._pending = self._pending + raw, b""
        if raw:
            self._transport.write(raw)
            call.sent_bytes += len(raw)
        await self._writable.wait()
        # A stream of instant writes must leave the loop its turn, or a close goes unseen.
        await asyncio.sleep(0)

    async def _until_gone_or(self, other: Coroutine[Any, Any, object]) -> None:
        tasks = {asyncio.ensure_future(other), asyncio.ensure_future(self._gone.wait())}
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
        if self._gone.is_set():
            raise ConnectionResetError
