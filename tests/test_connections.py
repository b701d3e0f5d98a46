"""The wire below the application: what is no request, what never ends, and who opens too many."""

import asyncio
import contextlib
import json
import re
import signal
import socket
import struct
from collections.abc import Iterator

import pytest
from twisted.internet.abstract import FileDescriptor
from twisted.internet.address import IPv4Address
from twisted.internet.error import ConnectionDone
from twisted.internet.testing import MemoryReactorClock, StringTransport
from twisted.python.failure import Failure
from twisted.web.http import HTTPFactory, Request
from websockets.exceptions import ConnectionClosed

from chat.connections import (
    GRACE_S,
    LEAST_BYTES_S,
    LOOK_S,
    PER_ADDRESS,
    UNREAD_MAX_BYTES,
    Channel,
    Crowd,
    Patience,
    unread,
)
from chat.page.consumers import PROTOCOL
from tests.server import Client
from tests.waiting import until

GET = "GET /healthz HTTP/1.1\r\nHost: {host}\r\n"
POST = "POST /login/ HTTP/1.1\r\nHost: {host}\r\n"
SECOND = GET + "Connection: close\r\n\r\n"


def connected(server, source: str = "127.0.0.1") -> socket.socket:
    address = ("127.0.0.1", server.port)
    return socket.create_connection(address, timeout=5, source_address=(source, 0))


def answered(server, sent: str | bytes) -> bytes:
    """All that comes back until the server closes, or has nothing to say for two seconds."""
    if isinstance(sent, str):
        sent = sent.replace("{host}", f"127.0.0.1:{server.port}").encode("latin-1")
    answer = b""
    with connected(server) as raw, contextlib.suppress(ConnectionError, TimeoutError):
        raw.sendall(sent)
        while news := raw.recv(65_536):
            answer += news
            raw.settimeout(2)
    return answer


def statuses(answer: bytes) -> list[int]:
    return [int(code) for code in re.findall(rb"HTTP/1\.\d (\d{3})", answer)]


# --- what is no request --------------------------------------------------------------------------

# Two ways to say where a body ends, or one that servers read differently: a request could hide there.
SMUGGLED = {
    "length and chunks": POST + "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "chunks and length": POST + "Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n",
    "two lengths": POST + "Content-Length: 0\r\nContent-Length: 44\r\n\r\n",
    "one length twice": POST + "Content-Length: 0\r\nContent-Length: 0\r\n\r\n",
    "a list of lengths": POST + "Content-Length: 0, 44\r\n\r\n",
    "a signed length": POST + "Content-Length: +0\r\n\r\n",
    "a negative length": POST + "Content-Length: -1\r\n\r\n",
    "a hexadecimal length": POST + "Content-Length: 0x0\r\n\r\n",
    "a length of words": POST + "Content-Length: none\r\n\r\n",
    "an empty length": POST + "Content-Length:\r\n\r\n",
    "an unknown coding": POST + "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    "two codings": POST + "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "chunked twice": POST + "Transfer-Encoding: chunked\r\n" * 2 + "\r\n0\r\n\r\n",
    "none beside chunked": (
        POST + "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n"
    ),
    "a coding with a tab": POST + "Transfer-Encoding:\x0bchunked\r\n\r\n0\r\n\r\n",
    "a blank before the colon": POST + "Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
    "a name in quotes": POST + '"Transfer-Encoding": chunked\r\n\r\n0\r\n\r\n',
    "no chunk size": POST + "Transfer-Encoding: chunked\r\n\r\n\r\n",
    "a chunk size of words": POST + "Transfer-Encoding: chunked\r\n\r\nzz\r\n\r\n",
    "a negative chunk": POST + "Transfer-Encoding: chunked\r\n\r\n-1\r\n\r\n",
    "a signed chunk": POST + "Transfer-Encoding: chunked\r\n\r\n+0\r\n\r\n",
    "a hexadecimal sign": POST + "Transfer-Encoding: chunked\r\n\r\n0x0\r\n\r\n",
    "an underscore": POST + "Transfer-Encoding: chunked\r\n\r\n0_0\r\n\r\n",
    "an endless chunk size": POST + "Transfer-Encoding: chunked\r\n\r\n" + "0" * 20_000,
    "a chunk that is longer": POST + "Transfer-Encoding: chunked\r\n\r\n1\r\nabc\r\n0\r\n\r\n",
    "a colon missing": GET + "Transfer-Encoding chunked\r\n\r\n",
    "a name missing": GET + ": x\r\n\r\n",
    "NUL in a name": GET + "X\0Y: x\r\n\r\n",
}


@pytest.mark.parametrize("name", SMUGGLED)
def test_a_body_with_two_ends_is_refused_with_all_behind_it(server, name):
    answer = answered(server, SMUGGLED[name] + SECOND)
    assert statuses(answer) in ([400], [])


@pytest.mark.parametrize(
    "sent",
    [
        GET.replace("\r\n", "\n") + "\n",
        GET + "X: a\nTransfer-Encoding: chunked\r\n\r\n",
        GET + "X: a\rY: b\r\n\r\n",
        GET + "X: a\0b\r\n\r\n",
        "GET /healthz\r\n\r\n",
        "GET /healthz HTTP/9.9\r\n\r\n",
        "GET  /healthz  HTTP/1.1\r\n\r\n",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        "\r\n" * 100,
        "\0" * 100,
        "GET /" + "a" * 70_000 + " HTTP/1.1\r\n\r\n",
        GET + "X: " + "a" * 70_000 + "\r\n\r\n",
        GET + "Cookie: " + "a=b; " * 20_000 + "\r\n\r\n",
        GET + "X: a\r\n" * 5_000 + "\r\n",
        "GET /\xff HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n",
        "GET /search/?q=\xff HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n",
    ],
    ids=lambda sent: repr(sent)[:75],
)
def test_what_is_no_request_gets_none_of_our_pages(server, sent):
    told = len(server.log)
    answer = answered(server, sent)
    assert set(statuses(answer)) <= {400}
    assert b"<" not in answer
    assert "Traceback" not in server.log[told:]
    assert statuses(answered(server, SECOND)) == [200]


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        ("GET //evil.example/ HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n", 404),
        ("GET //evil.example HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n", 404),
        ("GET /\\evil.example/ HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n", 404),
        ("GET /%2f%2fevil.example HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n", 404),
        (
            "GET http://evil.example/login/ HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n",
            400,
        ),
        ("GET /login/ HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n", 400),
        ("GET /login/ HTTP/1.1\r\nHost: {host}, evil.example\r\nConnection: close\r\n\r\n", 400),
        ("GET /login/ HTTP/1.1\r\nHost: {host}@evil.example\r\nConnection: close\r\n\r\n", 400),
        ("GET /login/ HTTP/1.1\r\n\r\n", 400),
        ("GET /login/ HTTP/1.1\r\nHost: {host}\r\nHost: {host}\r\n\r\n", 400),
        (
            "GET /static/../chat/settings.py HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n",
            404,
        ),
        (
            "GET /static/%2e%2e/secret_key HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n",
            404,
        ),
        ("GET /static/..%5csecret_key HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n", 404),
        ("GET /static/%00 HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n", 404),
        ("GET /%ff%fe%00 HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n", 404),
        ("GET /%0d%0aSet-Cookie:%20a=b HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n", 404),
        (
            "GET /login HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n"
            "X-Forwarded-Host: evil.example\r\n\r\n",
            301,
        ),
        ("TRACE /login/ HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n", 405),
        ("CONNECT evil.example:443 HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n", 404),
        ("OPTIONS * HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n", 404),
    ],
)
def test_an_odd_request_leads_nowhere(server, sent, status):
    told = len(server.log)
    answer = answered(server, sent)
    assert statuses(answer) == [status], answer[:300]
    head = answer.partition(b"\r\n\r\n")[0]
    assert b"evil.example" not in head
    assert b"Set-Cookie: a=b" not in head
    assert "Traceback" not in server.log[told:]


def test_requests_in_one_go_are_answered_in_order(server):
    nothing = "GET /nothing HTTP/1.1\r\nHost: {host}\r\n\r\n"
    answer = answered(server, f"{GET}\r\n{nothing}{SECOND}")
    assert statuses(answer) == [200, 404, 200]


def test_what_follows_the_last_request_of_a_connection_is_not_read(server):
    assert statuses(answered(server, SECOND + SECOND)) == [200]
    assert statuses(answered(server, GET.replace("1.1", "1.0") + "\r\n" + SECOND)) == [200]


# A socket that is not opened: its answer is made below the application.
SHAKE = (
    "GET /ws/ HTTP/1.1\r\nHost: {host}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
)

# --- every answer is guarded ---------------------------------------------------------------------


@pytest.mark.parametrize(
    "sent",
    [
        SECOND,
        "GET /nothing HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n",
        "GET /login/ HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n",
        "GET /admin/ HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n",
        "GET /login/ HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n",
        "GET /login HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n",
        "PUT /login/ HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n",
        POST + "Content-Length: 0\r\n\r\n",
        "GET /static/nothing.js HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n",
        "GET /manifest.webmanifest HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n",
        "GET /metrics HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n",
        "GET /demo/v1/models HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n",
        "GET /demo/v1/nothing HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n",
        "GET /\xff HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n",
        POST + "Content-Length: 99999999999\r\n\r\n",
        # Told apart by their address: so much of each is its name.
        SHAKE.replace("/ws/", "/ws/?foreign") + "Origin: http://evil.example\r\n\r\n",
        SHAKE.replace("/ws/", "/ws/?no-ascii") + "Sec-WebSocket-Protocol: a,\xff\r\n\r\n",
        SHAKE.replace("/ws/", "/ws/?version").replace(": 13", ": 99") + "\r\n",
    ],
    ids=lambda sent: repr(sent)[:75],
)
def test_every_answer_has_the_policy_and_is_not_sniffed(server, sent):
    told = len(server.log)
    head = answered(server, sent).partition(b"\r\n\r\n")[0].decode("latin-1").lower()
    assert "Traceback" not in server.log[told:]
    assert re.search(r"\r\ncontent-security-policy: [^\r]*default-src 'none'", head)
    assert "x-content-type-options: nosniff" in head
    assert "\r\nserver:" not in head


def test_a_reader_puts_nothing_before_the_links_of_a_page(server):
    sent = b"GET /login/ HTTP/1.1\r\nHost: localhost\r\nDaphne-Root-Path: /elsewhere\r\n\r\n"
    page = answered(server, sent)
    assert b"/static/" in page
    assert b"elsewhere" not in page


# --- what never ends -----------------------------------------------------------------------------


class Line:
    """A connection in this process, on a clock of the test's own."""

    def __init__(self) -> None:
        self.now = 0.0
        self.channel = Channel()
        self.channel.crowd = Crowd()
        self.channel.clock = lambda: self.now
        self.channel.requestFactory = Request
        self.channel.site = self.channel.factory = HTTPFactory()
        self.channel.timeOut = None
        self.transport = StringTransport(peerAddress=IPv4Address("TCP", "192.0.2.7", 50_000))
        self.channel.makeConnection(self.transport)

    def send(self, sent: bytes, every_s: float, times: int) -> Iterator[bytes]:
        for _ in range(times):
            self.now += every_s
            self.channel.dataReceived(sent)
            yield self.transport.value()


@pytest.mark.parametrize(
    "head", [b"GET / HTTP/1.1\r\n", b"POST / HTTP/1.1\r\nContent-Length: 10000\r\n\r\n"]
)
def test_a_request_that_comes_by_drops_is_given_up(head):
    line = Line()
    line.channel.dataReceived(head)
    last = list(line.send(b"a", 1, GRACE_S + 5))[-1]
    assert last.startswith(b"HTTP/1.1 408 ")
    assert line.transport.disconnecting


def test_a_large_body_over_a_slow_line_is_not_given_up():
    line = Line()
    line.channel.dataReceived(b"POST / HTTP/1.1\r\nContent-Length: 90000\r\n\r\n")
    assert set(line.send(b"a" * LEAST_BYTES_S * 2, 1, 80)) == {b""}


def test_the_clock_of_a_request_starts_with_its_own_first_byte():
    line = Line()
    line.now = 1_000.0
    line.channel.dataReceived(b"GET / HTTP/1.1\r\n")
    assert b"408" not in line.transport.value()


# --- who doesn't read what they asked for --------------------------------------------------------

PAGE = b"a" * 600_000


class Pages(Request):
    """Each request is answered in the next turn."""

    def process(self) -> None:
        self.channel.callLater(0, self._answer)

    def _answer(self) -> None:
        self.write(PAGE)
        self.finish()


class Reader(FileDescriptor):
    """The server's end of a connection to somebody who takes bytes only by `read`."""

    def __init__(self, asked: bytes = b"") -> None:
        super().__init__(MemoryReactorClock())
        self.connected = 1
        self.is_aborted = False
        self._takes = 0
        self.channel = Channel()
        self.channel.crowd = Crowd()
        self.channel.requestFactory = Pages
        self.channel.site = self.channel.factory = HTTPFactory()
        self.channel.callLater = self.reactor.callLater
        self.channel.timeOut = 60
        self.channel.makeConnection(self)
        self.channel.dataReceived(asked)
        self.reactor.pump([0] * 200)

    def getPeer(self) -> IPv4Address:  # noqa: N802
        return IPv4Address("TCP", "192.0.2.7", 50_000)

    getHost = getPeer  # noqa: N815

    def writeSomeData(self, data: bytes) -> int:  # noqa: N802
        taken = min(self._takes, len(data))
        self._takes -= taken
        return taken

    def abortConnection(self) -> None:  # noqa: N802
        self.is_aborted = True

    def read(self, size: int) -> None:
        self._takes = size
        while self._takes and unread(self):
            self.doWrite()


ASKED = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
ASKED_ONCE = ASKED.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")


@pytest.mark.parametrize("asked", [ASKED, ASKED_ONCE], ids=["kept open", "closed"])
def test_who_reads_nothing_of_an_answer_is_given_up(asked):
    reader = Reader(asked)
    assert unread(reader) > len(PAGE)
    reader.reactor.advance(LOOK_S)
    assert reader.is_aborted


@pytest.mark.parametrize("asked", [ASKED, ASKED_ONCE], ids=["kept open", "closed"])
def test_who_reads_slowly_gets_all_of_it(asked):
    reader = Reader(asked)
    while unread(reader):
        reader.read(2 * LEAST_BYTES_S * LOOK_S)
        reader.reactor.advance(LOOK_S)
    assert reader.reactor.seconds() > 500
    assert not reader.is_aborted


def test_who_asks_for_a_hundred_pages_in_one_go_and_reads_none_is_not_given_them():
    reader = Reader(ASKED * 100)
    assert len(PAGE) < unread(reader) < UNREAD_MAX_BYTES + 2 * len(PAGE)


async def test_what_is_made_as_it_is_read_waits_for_its_reader():
    reader = Reader(ASKED)
    waiting = asyncio.ensure_future(reader.channel.has_room())
    await asyncio.sleep(0)
    assert not waiting.done()
    reader.read(2 * len(PAGE))
    await waiting


async def test_what_waits_for_a_reader_ends_with_its_connection():
    reader = Reader(ASKED)
    waiting = asyncio.ensure_future(reader.channel.has_room())
    await asyncio.sleep(0)
    reader.channel.connectionLost(Failure(ConnectionDone()))
    await waiting


def test_a_socket_ends_before_more_is_kept_for_it_than_its_reader_may_leave():
    reader, patience = Reader(), Patience()
    frame = b"a" * 100_000
    while not patience.ends_before(len(frame), reader):
        reader.write(frame)
    assert UNREAD_MAX_BYTES < unread(reader) < UNREAD_MAX_BYTES + 3 * len(frame)


# --- who opens too many --------------------------------------------------------------------------


def test_one_address_has_no_more_than_its_share():
    crowd = Crowd()
    taken = [crowd.takes("192.0.2.7") for _ in range(PER_ADDRESS + 1)]
    assert taken == [True] * PER_ADDRESS + [False]
    assert crowd.takes("192.0.2.8")
    crowd.forget("192.0.2.7")
    assert crowd.takes("192.0.2.7")


def test_proxies_that_are_trusted_open_as_many_as_they_like(trust):
    trust(["192.0.2.0/24"])
    crowd = Crowd()
    assert all(crowd.takes("192.0.2.9") for _ in range(PER_ADDRESS + 1))


def test_connections_that_say_nothing_keep_nobody_out(server):
    with contextlib.ExitStack() as stack:
        crowd = [stack.enter_context(connected(server, "127.0.0.2")) for _ in range(1_100)]
        assert crowd[-1].recv(100).startswith(b"HTTP/1.1 503 ")
        assert statuses(answered(server, SECOND)) == [200]
    until(lambda: probe(server, "127.0.0.2") == [200], "their address has room again")


def probe(server, source: str) -> list[int]:
    with connected(server, source) as raw:
        raw.sendall(SECOND.replace("{host}", f"127.0.0.1:{server.port}").encode())
        return statuses(raw.recv(4096))


# --- sockets -------------------------------------------------------------------------------------


def masked(opcode: int, payload: bytes = b"", first: int = 0x80) -> bytes:
    """A frame whose mask is nought, so that it can be read here."""
    size = bytes([0x80 | len(payload)])
    return bytes([first | opcode]) + size + b"\0\0\0\0" + payload


BROKEN = {
    "an unknown opcode": masked(3),
    "an unknown control opcode": masked(0xB),
    "a reserved bit": masked(1, b"{}", 0xC0),
    "no mask": b"\x81\x02{}",
    "a piece of nothing": masked(0, b"{}"),
    "a control frame in pieces": masked(9, b"a", 0),
    "a control frame that is long": b"\x89\xfe\x00\x7e\0\0\0\0" + b"a" * 126,
    "a length with its sign": b"\x81\xff\xff\xff\xff\xff\xff\xff\xff\xff\0\0\0\0",
    "a length that is not the shortest": b"\x81\xfe\x00\x02\0\0\0\0{}",
    "half a close code": masked(8, b"\x03"),
    "a close code of nobody's": masked(8, b"\x03\xed"),
    "a close reason that is no text": masked(8, b"\x03\xe8\xff"),
    "no text": masked(1, b"\xff\xfe"),
    "half a character": masked(1, b"\xd0"),
    "a surrogate": masked(1, b"\xed\xa0\x80"),
    "too large in pieces": masked(1, b"a" * 125, 0) + masked(0, b"a" * 125, 0) * 600,
    "a flood of pieces": masked(1, b"", 0) + masked(0, b"", 0) * 2_000,
    "a flood of pings": masked(9, b"a" * 125) * 2_000,
    "a flood of pongs": masked(10, b"a" * 125) * 2_000,
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_frame_ends_its_socket_alone(server, owner, name):
    told = len(server.log)
    with owner.socket() as socket_:
        socket_.receive()
        with contextlib.suppress(ConnectionError):
            socket_.connection.socket.sendall(BROKEN[name])
        with pytest.raises(ConnectionClosed):
            until(lambda: socket_.receive() and False, "the server closes the socket", 15)
    assert "Traceback" not in server.log[told:]
    assert statuses(answered(server, SECOND)) == [200]


def test_a_message_in_pieces_is_one_message(owner):
    with owner.socket() as socket_:
        socket_.receive()
        socket_.connection.send(iter(['{"nei', 'ther": ', "1}"]))
        assert "not understood" in socket_.receive()


def upgrade(person: Client) -> bytes:
    """The request that opens a page's socket."""
    cookies = "; ".join(f"{name}={value}" for name, value in person.cookies.items())
    head = [
        "GET /ws/ HTTP/1.1",
        f"Host: 127.0.0.1:{person.server.port}",
        f"Origin: {person.server.url}",
        f"Cookie: {cookies}",
        "Connection: Upgrade",
        "Upgrade: websocket",
        "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==",
    ]
    return "\r\n".join([*head, "", ""]).encode()


def test_whoever_acknowledges_what_was_never_read_is_sent_no_more(server, owner, gateway):
    gateway.reply("word " * 100_000)
    conversation = owner.send("Say much")
    owner.wait_for_reply(conversation, "complete", 60)
    watch = {"protocol": PROTOCOL, "conversation": conversation, "version": 0}
    # The second frame is the thread, of half a megabyte.
    asked = masked(1, b'{"ack": 2}') + masked(1, json.dumps({"watch": watch}).encode())
    with socket.socket() as raw:
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        raw.connect(("127.0.0.1", server.port))
        raw.sendall(upgrade(owner))
        for _ in range(20):
            raw.sendall(asked)
            # Takes long enough for this to be no flood of frames, and for an answer.
            assert owner.get(f"/c/{conversation}/").status_code == 200
        raw.settimeout(3)
        received = 0
        with contextlib.suppress(TimeoutError):
            while news := raw.recv(65_536):
                received += len(news)
    assert 500_000 < received < 1_000_000


# --- lines that break ----------------------------------------------------------------------------


def reset_behind(server, lines: list[socket.socket], last_words: bytes) -> None:
    """Each line says this and breaks, and the server learns of both at the same moment."""
    server.signal(signal.SIGSTOP)
    for line in lines:
        line.sendall(last_words)
        line.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        line.close()
    server.signal(signal.SIGCONT)


def test_a_socket_that_breaks_right_behind_a_frame_is_gone(server, owner):
    told = len(server.log)
    with owner.socket() as page:
        page.receive()
        before = server.lines
        lines = [connected(server) for _ in range(20)]
        for line in lines:
            line.sendall(upgrade(owner))
            until(lambda: b"hello" in line.recv(4096), "the socket says hello")  # noqa: B023
        reset_behind(server, lines, masked(1, b'{"nobody": "knows this"}'))
        until(lambda: server.lines <= before, "the server lets go of them", 30)
        server.signal(signal.SIGTERM)
        with pytest.raises(ConnectionClosed) as closed:
            # Not before replies that other tests left have had their time.
            until(lambda: page.receive() and False, "the server closes the page's socket", 40)
        assert closed.value.rcvd.code == 1012
        assert server.wait(10) == 0
    assert "Traceback" not in server.log[told:]


@pytest.mark.parametrize("last_words", [GET, GET + "\r\n", POST + "Content-Length: 9\r\n\r\nuser"])
def test_a_request_whose_line_breaks_at_once_leaves_nothing_behind(server, last_words):
    told, before = len(server.log), server.lines
    last_words = last_words.replace("{host}", f"127.0.0.1:{server.port}")
    reset_behind(server, [connected(server) for _ in range(20)], last_words.encode())
    until(lambda: server.lines <= before, "the server lets go of them", 30)
    assert "Traceback" not in server.log[told:]
    assert statuses(answered(server, SECOND)) == [200]
