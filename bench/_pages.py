"""Pages at their sockets, as many as a bench needs: they read and acknowledge as the real one does.

By hand and not through a library, so that the hundred of them cost less than what is measured.
"""

import asyncio
import json
import re
import time
from typing import Any

from tests.server import Client

PROTOCOL = 4
ACK_S = 0.25
ACK_BYTES = 64 * 1024
_WORDS = re.compile(rb"W(\d+)")
_NUMBER = re.compile(rb'^\{"n":(\d+)')
_IS_COMPLETE = re.compile(rb'data-role=\\"assistant\\"[^>]*data-status=\\"complete\\"')


class Page(asyncio.Protocol):
    """`seen_at`: monotonic seconds, of each numbered word in turn; one that is skipped is an error."""

    def __init__(self, client: Client, conversation: str | None = None, reads: bool = True) -> None:
        self.client = client
        self.watch: dict[str, Any] = {"protocol": PROTOCOL, "conversation": conversation}
        self.reads = reads
        self.seen_at: list[float] = []
        self.received = 0
        self.frames = 0
        self.wait_for = 0  # words, until `_arrived` is set
        self.is_watching = asyncio.Event()
        self.arrived = asyncio.Event()
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._buffer = bytearray()
        self._is_open = False
        self._acked_at = 0.0
        self._unacked = 0

    async def open(self) -> "Page":
        """Returns once the page is told what it lacks."""
        loop = asyncio.get_running_loop()
        await loop.create_connection(lambda: self, "127.0.0.1", self.client.server.port)
        await asyncio.wait_for(self.is_watching.wait(), 300)
        return self

    async def has_seen(self, words: int) -> None:
        self.wait_for = words
        self.arrived.clear()
        if len(self.seen_at) < words:
            await asyncio.wait_for(self.arrived.wait(), 60)

    def close(self) -> None:
        self.ended.cancel()
        self._transport.abort()

    # --- the connection -----------------------------------------------------------------------

    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        cookies = "; ".join(f"{name}={value}" for name, value in self.client.cookies.items())
        transport.write(
            f"GET /ws/ HTTP/1.1\r\nHost: 127.0.0.1:{self.client.server.port}\r\n"
            "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
            f"Origin: {self.client.server.url}\r\nCookie: {cookies}\r\n\r\n".encode()
        )

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.ended.done():
            self.ended.set_exception(ConnectionError(f"A page lost its socket: {exc}"))

    def data_received(self, received: bytes) -> None:
        self.received += len(received)
        self._buffer += received
        if not self._is_open:
            head, separator, rest = bytes(self._buffer).partition(b"\r\n\r\n")
            if not separator:
                return
            assert b" 101 " in head, head
            self._is_open, self._buffer = True, bytearray(rest)
        now = time.monotonic()
        while (payload := self._next_frame()) is not None:
            self._read(payload, now)

    def _next_frame(self) -> bytes | None:
        buffer = self._buffer
        if len(buffer) < 2:
            return None
        size, at = buffer[1], 2
        if size == 126:
            size, at = int.from_bytes(buffer[2:4], "big"), 4
        elif size == 127:
            size, at = int.from_bytes(buffer[2:10], "big"), 10
        if len(buffer) < at + size:
            return None
        opcode, payload = buffer[0] & 15, bytes(buffer[at : at + size])
        del buffer[: at + size]
        if opcode == 8 and not self.ended.done():
            code = int.from_bytes(payload[:2], "big")
            self.ended.set_exception(ConnectionError(f"The server closed a page: {code}"))
        if opcode == 9:
            self._send(10, payload)  # Daphne closes what doesn't answer its pings
        return payload if opcode == 1 else b""

    def _say(self, message: object) -> None:
        self._send(1, json.dumps(message).encode())

    def _send(self, opcode: int, payload: bytes) -> None:
        size = len(payload)
        length = bytes([128 | size]) if size < 126 else b"\xfe" + size.to_bytes(2, "big")
        # Masked with zeros, which is to say not at all.
        self._transport.write(bytes([128 | opcode]) + length + bytes(4) + payload)

    # --- what it is told ----------------------------------------------------------------------

    def _read(self, payload: bytes, now: float) -> None:
        if not payload:
            return
        self.frames += 1
        if b'"hello"' in payload:
            self._say({"watch": self.watch})
            return
        self.is_watching.set()
        if not self.reads:
            self._transport.pause_reading()
            return
        self._note_words(payload, now)
        self._acknowledge(payload, now)
        if self.seen_at and _IS_COMPLETE.search(payload) and not self.ended.done():
            self.ended.set_result(None)

    def _note_words(self, payload: bytes, now: float) -> None:
        known = len(self.seen_at)
        new = sorted({number for w in _WORDS.findall(payload) if (number := int(w)) >= known})
        if not new:
            return
        # A frame that replaces several may bring words that no other frame brought, but skip none.
        assert new == list(range(known, known + len(new))), f"words {known} to {new[0]} are lost"
        self.seen_at += [now] * len(new)
        if len(self.seen_at) >= self.wait_for:
            self.arrived.set()

    def _acknowledge(self, payload: bytes, now: float) -> None:
        self._unacked += len(payload)
        if now - self._acked_at < ACK_S and self._unacked < ACK_BYTES:
            return
        number = _NUMBER.match(payload)
        assert number
        self._acked_at, self._unacked = now, 0
        self._say({"ack": int(number[1])})
