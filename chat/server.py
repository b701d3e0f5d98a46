"""Daphne's server class with what `serve` promises beyond it: uvloop, a body limit, a drain.

To be imported before anything that touches Twisted's reactor.
"""

import asyncio
import contextlib
import logging
import os
import signal
import struct
import threading
from collections.abc import Callable
from functools import partial
from typing import Any

with contextlib.suppress(ImportError):  # uvloop has no Windows
    import uvloop

    asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())

from daphne.endpoints import build_endpoint_description_strings
from daphne.http_protocol import HTTPFactory, WebRequest
from daphne.server import Server as DaphneServer
from daphne.ws_protocol import WebSocketFactory, WebSocketProtocol
from django.conf import settings
from twisted.internet import reactor
from twisted.web.http import _GenericHTTPChannelProtocol

from chat.connections import TOO_LARGE, Channel, Patience, is_broken, refusal, unread
from chat.replies.process import process

logger = logging.getLogger(__name__)
GRACE_S = 4.0
LINGER_S = 3.0
DEMO_BODY_BYTES = 16 * 1024 * 1024
TOO_BIG, TOO_FAST = 1009, 4429


class Request(WebRequest):
    """A request whose body is refused while it arrives: Daphne would spool all of it first."""

    is_refused = False

    def gotLength(self, length: int | None) -> None:  # noqa: N802
        super().gotLength(length)
        # Our own gateway is sent whole conversations, which no form field would hold.
        is_demo = self.channel._path.startswith(b"/demo/v1/")
        self._most = DEMO_BODY_BYTES if is_demo else settings.DATA_UPLOAD_MAX_MEMORY_SIZE
        if length is not None and length > self._most:
            self._refuse()

    def handleContentChunk(self, data: bytes) -> None:  # noqa: N802
        if not self.is_refused and self.content.tell() + len(data) > self._most:
            self._refuse()
        if not self.is_refused:
            super().handleContentChunk(data)

    def process(self) -> Any:
        if self.is_refused:
            return self._hang_up()
        hosts = self.requestHeaders.getRawHeaders(b"Host", [])
        if len(hosts) > 1 or (not hosts and self.clientproto != b"HTTP/1.0"):
            return self.basic_error(400, b"Bad Request", "Which host is asked?")
        if self.requestHeaders.getRawHeaders(b"Upgrade", [b""])[0].lower() == b"websocket":
            self.channel.leave_crowd()
            # Ours has none, and Daphne raises where one is not ASCII.
            self.requestHeaders.removeHeader(b"Sec-WebSocket-Protocol")
        # Of servers that stand before Daphne; a reader's would be put before each link of the page.
        self.requestHeaders.removeHeader(b"Daphne-Root-Path")
        channel = self.channel
        answer = super().process()
        if self.transport is None:
            # A socket has it by now; each of the two would keep the other until somebody looks.
            channel.requests.clear()
        return answer

    def basic_error(self, status: int, status_text: bytes, body: str) -> None:
        """Daphne's page has inline styles and no policy."""
        self.channel.transport.write(refusal(b"%d %b" % (status, status_text), body.encode()))
        self.channel.loseConnection()

    async def has_room(self) -> None:
        """Returns once the reader has taken what was written, or is gone."""
        if self.channel is not None:
            await self.channel.has_room()

    def _refuse(self) -> None:
        self.is_refused = True
        self.channel.transport.write(TOO_LARGE)
        # Closing at once would reset the connection, and a client in mid-body never see the answer.
        reactor.callLater(LINGER_S, self._hang_up)

    def _hang_up(self) -> None:
        if self.channel is not None:
            self.channel.loseConnection()


class _Factory(HTTPFactory):
    def buildProtocol(self, addr: Any) -> Any:  # noqa: N802
        protocol = super().buildProtocol(addr)
        protocol.requestFactory = Request
        return protocol

    def protocol(self) -> Any:
        return _GenericHTTPChannelProtocol(Channel())


class WebSocket(WebSocketProtocol):
    """Autobahn's, with any close code (it takes 1000 and 3000-4999) and a short way down.

    Its own has one limit of size for both ways, and a long reply is more than what may come in.
    """

    is_refused = False

    def connectionMade(self) -> None:  # noqa: N802
        self._patience = Patience()
        super().connectionMade()

    def onOpen(self) -> None:  # noqa: N802
        super().onOpen()
        # The handshake has been read by now; a page stays for hours, and there are thousands.
        self.http_request_data, self.http_headers = b"", {}
        self.request.headers, self.clean_headers = {}, []
        self._transport_details = None

    def sendHttpErrorResponse(self, code: int, *_told: Any) -> None:  # noqa: N802
        """Autobahn's has no policy, and says in its first line what went wrong inside."""
        self.sendData(refusal(b"%d Refused" % code, b"This is no socket of ours."))

    def serverClose(self, code: int | None = None) -> None:  # noqa: N802
        self.sendCloseFrame(code=1000 if code is None else code)

    def sendMessage(self, payload: bytes, isBinary: bool = False) -> None:  # noqa: N802, N803
        if self.state != self.STATE_OPEN:
            return  # the application is about to hear of it
        frame = _frame_head(2 if isBinary else 1, len(payload)) + payload
        transport = self.transport
        if self._patience.ends_before(len(frame), transport):
            transport.abortConnection()
            return
        # Twisted waits for the loop to say that a socket takes more: with nothing before it in the
        # queue it nearly always does, and two system calls and a turn of the loop are saved.
        if not (transport.dataBuffer or transport._tempDataBuffer):
            sent = transport.writeSomeData(frame)
            frame = frame[sent:] if isinstance(sent, int) else frame
        if frame:
            transport.write(frame)

    def onPing(self, payload: bytes) -> None:  # noqa: N802
        if self._patience.ends_before(0, self.transport):
            self.transport.abortConnection()
        elif self._has_patience():
            super().onPing(payload)

    def onPong(self, payload: bytes) -> None:  # noqa: N802
        if self._has_patience():
            super().onPong(payload)

    def onMessageFrameBegin(self, length: int) -> None:  # noqa: N802
        self._has_patience()
        super().onMessageFrameBegin(length)

    def _has_patience(self) -> bool:
        if self.is_refused:
            return False
        if self._patience.ends_with_a_piece():
            self._refuse(TOO_FAST)
            return False
        return True

    def _max_message_size_exceeded(self, *_sizes: object) -> None:
        # Autobahn would drop the connection, and the page not learn why.
        self._refuse(TOO_BIG)

    def _refuse(self, code: int) -> None:
        self.is_refused = True
        self.sendCloseFrame(code=code)

    def dataReceived(self, data: bytes) -> None:  # noqa: N802
        if not self.is_refused:
            super().dataReceived(data)
        if is_broken(self.transport):
            self.transport.abortConnection()


class Inbox:
    """What a socket's client said and nobody has taken yet, for one taker.

    asyncio's queue has four deques, three kilobytes for each page.
    """

    __slots__ = ("_messages", "_taker")

    def __init__(self) -> None:
        self._messages: list[dict[str, Any]] = []
        self._taker: asyncio.Future[None] | None = None

    def put_nowait(self, message: dict[str, Any]) -> None:
        self._messages.append(message)
        if self._taker is not None and not self._taker.done():
            self._taker.set_result(None)

    async def get(self) -> dict[str, Any]:
        while not self._messages:
            self._taker = asyncio.get_running_loop().create_future()
            try:
                await self._taker
            finally:
                self._taker = None
        return self._messages.pop(0)


def _frame_head(opcode: int, size: int) -> bytes:
    """Of an unmasked message in one frame (RFC 6455, 5.2)."""
    if size < 126:
        return struct.pack("!BB", 0x80 | opcode, size)
    if size < 2**16:
        return struct.pack("!BBH", 0x80 | opcode, 126, size)
    return struct.pack("!BBQ", 0x80 | opcode, 127, size)


class Server(DaphneServer):
    """Serves until SIGTERM or SIGINT, then drains: see `Process.drain`."""

    def __init__(self, application: Any, host: str, port: int, ready: Callable[[], None]) -> None:
        self._is_ending = False
        self._ready = ready
        super().__init__(
            application,
            endpoints=build_endpoint_description_strings(host=host, port=port),
            signal_handlers=False,
            ready_callable=self._come_up,
            verbosity=0,
            server_name="",
            websocket_max_message_size=64 * 1024,
            websocket_max_frame_size=64 * 1024,
            application_close_timeout=5,
            # Without a limit: it is measured by the clock of the day, and a jump would close them all.
            websocket_timeout=-1,
        )

    @property
    def http_factory(self) -> HTTPFactory:
        return self._http_factory

    @http_factory.setter
    def http_factory(self, _: HTTPFactory) -> None:
        # Daphne makes its own in `run` and takes no other.
        self._http_factory = _Factory(self)

    @property
    def ws_factory(self) -> WebSocketFactory:
        return self._ws_factory

    @ws_factory.setter
    def ws_factory(self, factory: WebSocketFactory) -> None:
        factory.protocol = WebSocket
        self._ws_factory = factory

    def create_application(self, protocol: Any, scope: dict[str, Any]) -> Any:
        """Daphne's; a socket sees what its reader leaves unread, writes at once, has a small inbox."""
        if scope["type"] != "websocket":
            return super().create_application(protocol, scope)
        if protocol not in self.connections:
            return None
        scope |= {
            "asgi": {"version": "3.0"},
            "potok.unread": partial(unread, protocol.transport),
            "potok.write": protocol.sendMessage,
        }
        inbox = Inbox()
        reply = partial(self.handle_reply, protocol)
        self.connections[protocol]["application_instance"] = asyncio.ensure_future(
            self.application(scope=scope, receive=inbox.get, send=reply)
        )
        return inbox

    async def handle_reply(self, protocol: Any, message: dict[str, Any]) -> None:
        """Daphne's, with a short way for what is sent most by far: a frame of text."""
        is_text = message["type"] == "websocket.send" and message.get("text") is not None
        if is_text and protocol.state == protocol.STATE_OPEN:
            protocol.sendMessage(message["text"].encode())
        else:
            await super().handle_reply(protocol, message)
        if message.get("more_body") and not protocol.responseHeaders.hasHeader("Content-Length"):
            # A file that is made as it is read; a page is there already.
            await protocol.has_room()

    def application_checker(self) -> None:
        """Daphne's, kept going: an application that raised in mid-answer would end it for good."""
        try:
            super().application_checker()
        except Exception:
            logger.exception("Looking after the connections failed")
            reactor.callLater(1, self.application_checker)

    def _come_up(self) -> None:
        loop = reactor._asyncioEventloop
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._end, number)
        process.drains = True
        self._starting = loop.create_task(self._start())

    async def _start(self) -> None:
        try:
            await process.start()
        except Exception:
            logger.exception("Potok could not start")
            self._is_ending = True
            self.stop()
            return
        self._ready()

    def _end(self, number: int) -> None:
        """Drain once; a second signal ends at once."""
        if self._is_ending:
            os._exit(128 + number)
        self._is_ending = True
        limit_s = settings.DRAIN_S
        # Whatever misbehaves, the process is gone in time.
        watchdog = threading.Timer(limit_s + GRACE_S, os._exit, [0])
        watchdog.daemon = True
        watchdog.start()
        self._draining = asyncio.get_running_loop().create_task(self._drain(limit_s))

    async def _drain(self, limit_s: float) -> None:
        try:
            await process.drain(limit_s)
        except Exception:
            logger.exception("Draining failed")
        finally:
            self.stop()
