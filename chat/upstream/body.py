"""A response's body under deadlines and bounds, piece by piece."""

import asyncio
import zlib
from collections.abc import AsyncIterator
from dataclasses import dataclass

import aiohttp
import httpx

from chat.upstream.chunk import decode
from chat.upstream.dialect import Reader
from chat.upstream.errors import GatewayError
from chat.upstream.transport import TRANSPORT_ERRORS, translate

_MAX_DOCUMENT_BYTES = 16 * 1024 * 1024
_MAX_ERROR_BYTES = 64 * 1024
_PIECE_BYTES = 64 * 1024
_ERROR_BODY_S = 10.0
_AFTER_ERROR_S = 2.0  # for the usage that may follow an error
_AFTER_DONE_S = 0.05  # for the end of the body, which lets the connection be used again
_WAITING_S = 1.0


@dataclass(frozen=True)
class Deadlines:
    """Seconds. The idle ones start anew with each byte, each useful payload."""

    connect_s: float = 10
    first_byte_s: float = 120
    idle_bytes_s: float = 120
    idle_payload_s: float = 1200
    after_finish_s: float = 30
    total_s: float = 3600


class Clock:
    """Which deadline is next, by the event loop's clock."""

    def __init__(self, deadlines: Deadlines) -> None:
        self._deadlines = deadlines
        self._now = asyncio.get_running_loop().time
        started = self._now()
        self.first_byte_at = started + deadlines.first_byte_s
        self.total_at = started + deadlines.total_s
        self._payload_at = started
        self._waiting_at = started
        self._error_at: float | None = None

    def note(self, *, has_payload: bool) -> bool:
        """Note what the last bytes brought; True where it is time to say that we wait."""
        now = self._now()
        if has_payload:
            self._payload_at = now
        elif now - self._waiting_at >= _WAITING_S:
            self._waiting_at = now
            return True
        return False

    def next(self, reader: Reader | None) -> tuple[float, str]:
        """(when the read that begins now must end, the reason to give if it does not)."""
        now = self._now()
        idle_s = self._deadlines.idle_bytes_s
        if reader and reader.finish_reason:
            idle_s = min(idle_s, self._deadlines.after_finish_s)
        at, reason = now + idle_s, "idle_bytes"
        if (payload_at := self._payload_at + self._deadlines.idle_payload_s) < at:
            at, reason = payload_at, "idle_payload"
        if self.total_at < at:
            at, reason = self.total_at, "total"
        if reader and reader.error:
            self._error_at = self._error_at or now
            if (error_at := self._error_at + _AFTER_ERROR_S) < at:
                at, reason = error_at, "idle_bytes"
        return at, reason


class _Late(Exception):
    """Nothing came until the deadline of the read."""


class Body:
    """A response's body, decoded, read piece by piece under the clock. b"" is its end.

    A read's deadline is nearly always later than that of the one before, so one timer serves them
    all: it goes off at the first and is set anew to where the deadline has moved.
    """

    def __init__(self, response: httpx.Response, clock: Clock) -> None:
        self.size = 0
        self.response = response
        self._clock = clock
        self._content: aiohttp.StreamReader = response.extensions["content"]
        self._until: float | None = None  # of the read that is under way, by the loop's clock
        self._timer: asyncio.TimerHandle | None = None
        encoding = response.headers.get("content-encoding", "identity").strip().lower()
        is_plain = encoding in ("", "identity")
        self._next = self._content.readany if is_plain else self._inflated(encoding).__anext__

    async def read(self, reader: Reader | None = None) -> bytes:
        """The next piece; GatewayError `connection`, `timeout` or `protocol`."""
        return await self._read(*self._clock.next(reader))

    async def read_head(self) -> bytes:
        """The beginning, up to and with the first byte that is no white space."""
        head = b""
        while not head.strip():
            at, reason = (
                self._clock.next(None) if head else (self._clock.first_byte_at, "first_byte")
            )
            piece = await self._read(at, reason)
            if not piece:
                break
            head = (head if len(head) < _MAX_ERROR_BYTES else b"") + piece
        return head

    async def read_document(self, head: bytes) -> object:
        """The JSON value that the whole body is."""
        if head.lstrip()[:1] == b"<":
            raise GatewayError("protocol", status=self.response.status_code, reason="html")
        body = bytearray(head)
        while piece := await self.read():
            body += piece
            if len(body) > _MAX_DOCUMENT_BYTES:
                raise GatewayError("protocol", reason="too_long")
        try:
            return decode(bytes(body))
        except ValueError as exc:
            status = self.response.status_code
            raise GatewayError("protocol", status=status, reason="json") from exc

    async def read_error(self) -> bytes:
        """What can be had of an error's body within its bounds."""
        body = b""
        at = asyncio.get_running_loop().time() + _ERROR_BODY_S
        try:
            while len(body) < _MAX_ERROR_BYTES and (piece := await self._read(at, "total")):
                body += piece
        except GatewayError:
            pass  # the status says enough
        return body[:_MAX_ERROR_BYTES]

    async def drain(self) -> None:
        """Wait for the end that is on its way."""
        at = asyncio.get_running_loop().time() + _AFTER_DONE_S
        try:
            while await self._read(at, "total"):
                pass
        except GatewayError:
            pass

    async def _read(self, at: float, reason: str) -> bytes:
        self._until = at
        if self._timer is None or at < self._timer.when():
            self._set_timer(at)
        try:
            piece = await self._next()
        except StopAsyncIteration:
            piece = b""
        except _Late as exc:
            raise GatewayError("timeout", reason=reason) from exc
        except TRANSPORT_ERRORS as exc:
            raise translate(exc) from exc
        finally:
            self._until = None
        self.size += len(piece)
        return piece

    def close(self) -> None:
        """No read follows."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _set_timer(self, at: float) -> None:
        self.close()
        self._timer = asyncio.get_running_loop().call_at(at, self._look)

    def _look(self) -> None:
        self._timer = None
        if self._until is None:
            return
        if self._until > asyncio.get_running_loop().time():
            self._set_timer(self._until)
        else:
            self._content.set_exception(_Late())

    async def _inflated(self, encoding: str) -> AsyncIterator[bytes]:
        """A body that came compressed though none was asked for, in bounded pieces."""
        if encoding not in ("gzip", "x-gzip", "deflate"):
            raise GatewayError("protocol", status=self.response.status_code, reason="encoding")
        inflater = zlib.decompressobj(wbits=47)  # finds out which of the two it is
        while rest := await self._content.readany():
            while rest:
                try:
                    text = inflater.decompress(rest, _PIECE_BYTES)
                except zlib.error as exc:
                    raise GatewayError("protocol", reason="encoding") from exc
                rest = inflater.unconsumed_tail
                if text:  # an empty piece would mean the end
                    yield text
                await asyncio.sleep(0)
