"""A gateway in the bench's own process, so that what it sends and what pages see have one clock.

A stream waits until the bench says something through it.
"""

import asyncio
import json
import re
import time
from typing import Any

_LENGTH = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)
_MODELS = json.dumps({"data": [{"id": "bench"}]}).encode()
_USAGE = {"prompt_tokens": 10, "completion_tokens": 1000, "total_tokens": 1010}


class Stream:
    """One reply under way; `asked_at`, and `sent_at` of each word in turn, in monotonic seconds."""

    def __init__(self, transport: asyncio.WriteTransport, question: str) -> None:
        self.question = question
        self.asked_at = time.monotonic()
        self.sent_at: list[float] = []
        self.is_closed = False
        self._transport = transport
        self._transport.write(
            b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
            b"Transfer-Encoding: chunked\r\n\r\n"
        )

    def say(self, text: str) -> None:
        self._send(event({"content": text}))

    def say_next(self) -> None:
        """The next numbered word; a paragraph has 25."""
        number = len(self.sent_at)
        self.sent_at.append(time.monotonic())
        self.say(f" W{number}" if number % 25 else f"\n\nW{number}")

    def end(self) -> None:
        self._send(event({}, "stop") + event(None) + b"data: [DONE]\n\n")
        self._transport.write(b"0\r\n\r\n")

    def _send(self, body: bytes) -> None:
        self._transport.write(b"%x\r\n%b\r\n" % (len(body), body))


class Gateway:
    def __init__(self) -> None:
        self.streams: list[Stream] = []
        self._opened = asyncio.Event()

    async def listen(self) -> str:
        """The address for OPENAI_BASE_URL."""
        loop = asyncio.get_running_loop()
        server = await loop.create_server(lambda: _Connection(self), "127.0.0.1", 0)
        return f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"

    async def opened(self, count: int) -> list[Stream]:
        """So many streams, once they are there; they are the caller's from then on."""
        while len(self.streams) < count:
            self._opened.clear()
            await asyncio.wait_for(self._opened.wait(), 120)
        taken, self.streams = self.streams[:count], self.streams[count:]
        return taken

    def open(self, stream: Stream) -> None:
        self.streams.append(stream)
        self._opened.set()


class _Connection(asyncio.Protocol):
    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._received = b""
        self._stream: Stream | None = None

    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def connection_lost(self, _exc: Exception | None) -> None:
        if self._stream:
            self._stream.is_closed = True

    def data_received(self, received: bytes) -> None:
        self._received += received
        head, separator, body = self._received.partition(b"\r\n\r\n")
        length = _LENGTH.search(head)
        if not separator or len(body) < (int(length[1]) if length else 0):
            return
        self._received = b""
        if head.startswith(b"POST"):
            self._stream = Stream(self._transport, json.loads(body)["messages"][-1]["content"])
            self._gateway.open(self._stream)
        else:
            self._transport.write(
                b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
                b"Content-Length: %d\r\n\r\n%b" % (len(_MODELS), _MODELS)
            )


def event(delta: dict[str, str] | None, finish: str | None = None) -> bytes:
    """A chunk as OpenAI sends it; the one with the usage where `delta` is None."""
    choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
    chunk = {
        "id": "chatcmpl-0123456789",
        "object": "chat.completion.chunk",
        "created": 1,
        "model": "bench",
        "choices": [] if delta is None else [choice],
        "usage": _USAGE if delta is None else None,
    }
    return b"data: " + json.dumps(chunk).encode() + b"\n\n"
