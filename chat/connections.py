"""What one connection may take before the application hears of it: time, room, unread answers.

Twisted gives up whoever is silent for a minute, but a byte now and then would keep a connection for
good; and nothing there counts connections, or what a reader leaves unread.
"""

import asyncio
import socket
import time
from collections import Counter
from functools import partial
from typing import Any

from twisted.web.http import HTTPChannel

from chat.proxies import is_trusted

# As Apache's mod_reqtimeout has it: a request is whole after this time, and a second more for each
# so many bytes of it.
GRACE_S = 20
LEAST_BYTES_S = 500
# An office behind one address opens a few hundred; proxies that are trusted open as many as they like.
PER_ADDRESS = 1_000
# Pings and pieces of frames, which the application never sees, in a second.
PIECES_A_SECOND = 200
UNREAD_MAX_BYTES = 1024 * 1024
# How often somebody is looked at who leaves an answer unread.
LOOK_S = 15

_HEADERS = (
    b"Content-Type: text/plain\r\nContent-Security-Policy: default-src 'none'\r\n"
    b"X-Content-Type-Options: nosniff\r\nCache-Control: no-store\r\nConnection: close\r\n"
)


def refusal(status: bytes, sentence: bytes) -> bytes:
    """A whole answer, for a request that nothing else will answer."""
    length = b"Content-Length: %d\r\n\r\n" % len(sentence)
    return b"HTTP/1.1 " + status + b"\r\n" + _HEADERS + length + sentence


TOO_LARGE = refusal(b"413 Content Too Large", b"This body is too large.")
TOO_SLOW = refusal(b"408 Request Timeout", b"This request came too slowly.")
TOO_MANY = refusal(b"503 Service Unavailable", b"Too many connections from one address.")


class Crowd:
    """How many connections each address holds that are not sockets of a page."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()

    def takes(self, address: str) -> bool:
        """Whether there is room for one more; it is counted, then."""
        if self._counts[address] >= PER_ADDRESS and not is_trusted(address):
            return False
        self._counts[address] += 1
        return True

    def forget(self, address: str) -> None:
        self._counts[address] -= 1
        if self._counts[address] <= 0:
            del self._counts[address]


def unread(transport: Any) -> int:
    """How many bytes its reader has left with us, beside what the system holds for it."""
    return len(transport.dataBuffer) - transport.offset + transport._tempDataLen


def is_broken(transport: Any) -> bool:
    """Whether the line was reset right behind what was just read; clears that mark.

    uvloop calls the reader once for the data and the reset together, and then watches the file no
    more: Twisted, which reads once a call, would keep the dead connection for good.
    """
    line = getattr(transport, "socket", None)
    return line is not None and line.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) != 0


class Channel(HTTPChannel):
    """A connection that is closed once it goes more slowly than anybody's line, either way."""

    crowd = Crowd()
    clock = staticmethod(time.monotonic)
    _began: float | None = None
    _received = 0
    _address: str | None = None
    _given = 0  # bytes of answers
    _look: Any = None  # the next one at a slow reader
    _room: asyncio.Future[None] | None = None

    def connectionMade(self) -> None:  # noqa: N802
        super().connectionMade()
        address = getattr(self.transport.getPeer(), "host", None)
        if address is None:
            return
        if self.crowd.takes(address):
            self._address = address
        else:
            self._end(TOO_MANY)

    def connectionLost(self, reason: Any) -> None:  # noqa: N802
        self.leave_crowd()
        self._let_go_on()
        super().connectionLost(reason)

    def leave_crowd(self) -> None:
        if self._address is not None:
            self.crowd.forget(self._address)
            self._address = None
        if self._look is not None:
            self._look.cancel()
            self._look = None

    def _maybeChooseTransferDecoder(self, header: bytes, data: bytes) -> bool:  # noqa: N802
        # Twisted passes over one that HTTP no longer has, and who stands before us may not.
        if header == b"Transfer-Encoding" and data.lower() == b"identity":
            return self._failChooseTransferDecoder()
        return super()._maybeChooseTransferDecoder(header, data)

    def dataReceived(self, data: bytes) -> None:  # noqa: N802
        if not self._handlingRequest:
            now = self.clock()
            if self._began is None:
                self._began, self._received = now, 0
            self._received += len(data)
            if now - self._began > GRACE_S + self._received / LEAST_BYTES_S:
                self._end(TOO_SLOW)
                return
        super().dataReceived(data)
        if is_broken(self.transport):
            self.transport.abortConnection()

    def allContentReceived(self) -> None:  # noqa: N802
        self._began = None
        super().allContentReceived()

    # --- who doesn't read what they asked for ---

    def write(self, data: bytes) -> None:
        self._given += len(data)
        super().write(data)

    def writeSequence(self, iovec: Any) -> None:  # noqa: N802
        self._given += sum(map(len, iovec))
        super().writeSequence(iovec)

    def pauseProducing(self) -> None:  # noqa: N802
        super().pauseProducing()
        self._look_later()

    def resumeProducing(self) -> None:  # noqa: N802
        super().resumeProducing()
        self._let_go_on()

    def requestDone(self, request: Any) -> None:  # noqa: N802
        if self._dataBuffer and unread(self.transport) > UNREAD_MAX_BYTES:
            # More requests came in one go, and each answer would be kept.
            self.persistent = False
        super().requestDone(request)
        if unread(self.transport):
            self._look_later()

    def timeoutConnection(self) -> None:  # noqa: N802
        if unread(self.transport):
            # Twisted would end whoever takes more than a minute to read an answer.
            self.setTimeout(self.timeOut)
        else:
            super().timeoutConnection()

    async def has_room(self) -> None:
        """Returns once the reader has taken what was written, or is gone."""
        if self._waitingForTransport:
            if self._room is None:
                self._room = asyncio.get_running_loop().create_future()
            await asyncio.shield(self._room)

    def _let_go_on(self) -> None:
        if self._room is not None:
            self._room.set_result(None)
            self._room = None

    def _look_later(self) -> None:
        if self._look is None:
            taken = self._given - unread(self.transport)
            self._look = self.callLater(LOOK_S, partial(self._look_at_reader, taken))

    def _look_at_reader(self, taken: int) -> None:
        self._look = None
        left = unread(self.transport)
        if left and self._given - left - taken < LEAST_BYTES_S * LOOK_S:
            self.transport.abortConnection()
        elif left:
            self._look_later()

    def _respondToBadRequestAndDisconnect(self) -> None:  # noqa: N802
        self._end(refusal(b"400 Bad Request", b"This is no request."))

    def _end(self, answer: bytes) -> None:
        self.transport.write(answer)
        self.loseConnection()
        self.dataReceived = lambda _data: None


class Patience:
    """What a socket's client may leave unread, and how many pieces it may send in a second."""

    def __init__(self) -> None:
        self._largest = 0
        self._allowance = float(PIECES_A_SECOND)
        self._refilled = time.monotonic()

    def ends_before(self, size: int, transport: Any) -> bool:
        """Whether more is unread than whoever acknowledges truly could have left so.

        A page has acknowledged nearly all when it is sent more, but for the last large frame.
        """
        is_over = unread(transport) > UNREAD_MAX_BYTES + self._largest
        self._largest = max(self._largest, size)
        return is_over

    def ends_with_a_piece(self) -> bool:
        now = time.monotonic()
        refilled = self._allowance + (now - self._refilled) * PIECES_A_SECOND
        self._allowance, self._refilled = min(refilled, PIECES_A_SECOND) - 1, now
        return self._allowance < 0
