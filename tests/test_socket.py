"""The socket: it tells who may know, in order, all of it, and ends when it should."""

import json
import time
from contextlib import suppress

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from tests.script import Hang
from tests.server import PASSWORD, Client, Socket

PROTOCOL = 4
ENDED = 'data-part="usage"'


class Tab:
    """A page as the socket knows it: it watches, acknowledges, and has what was sent."""

    def __init__(self, client: Client, conversation: str | None = None, **watch: object) -> None:
        self._socket = client.socket()
        self._watch = {"protocol": PROTOCOL, "conversation": conversation, "version": 0} | watch
        self.frames: list[dict] = []

    def __enter__(self) -> "Tab":
        self.socket: Socket = self._socket.__enter__()
        self.receive()
        self.socket.say({"watch": self._watch})
        return self

    def __exit__(self, *exc: object) -> None:
        self._socket.__exit__(*exc)

    def receive(self, deadline_s: float = 10) -> dict:
        frame = json.loads(self.socket.receive(deadline_s))
        self.frames.append(frame)
        self.socket.say({"ack": frame["n"]})
        return frame

    def until(self, found, deadline_s: float = 10) -> str:
        """All the HTML so far, once `found` is in it."""
        end = time.monotonic() + deadline_s
        while found not in (html := self.html):
            assert time.monotonic() < end, f"{found!r} is not in {html[-2000:]!r}"
            self.receive(max(0.1, end - time.monotonic()))
        return html

    @property
    def html(self) -> str:
        ops = [op for frame in self.frames for op in frame.get("ops", [])]
        return "\n".join(part for op in ops for part in op if isinstance(part, str))


@pytest.fixture
def member(server):
    """A person of this test's own."""
    number = server.sockets = getattr(server, "sockets", 0) + 1
    name = f"watcher{number}"
    return name, server.add_user(name)


@pytest.fixture
def running(owner, gateway):
    """A conversation whose reply has begun and goes on when the gate opens."""
    gate = gateway.gate()
    # Of the test before a question may still be on its way.
    asked = "Say hello to all"
    gateway.reply("Hello ", gate, "**world**", when=lambda call: call.prompt == asked)
    conversation = owner.send(asked)
    owner.wait_for_text(conversation, "Hello ")
    return conversation, gate


# --- what it tells ------------------------------------------------------------------------------


def test_the_first_frame_is_a_hello_with_the_protocol(owner):
    with owner.socket() as socket:
        assert json.loads(socket.receive()) == {"n": 1, "hello": {"protocol": PROTOCOL}}


def test_a_heartbeat_comes_within_five_seconds(owner):
    with owner.socket() as socket:
        socket.receive()
        assert json.loads(socket.receive(6)) == {"n": 2, "beat": True}


def test_frames_are_numbered_in_order(owner, running):
    conversation, gate = running
    with Tab(owner, conversation) as tab:
        tab.until("Hello")
        gate.open()
        tab.until(ENDED)
        assert [frame["n"] for frame in tab.frames] == list(range(1, len(tab.frames) + 1))


def test_a_reply_is_seen_as_it_grows_and_ends(owner, running):
    conversation, gate = running
    with Tab(owner, conversation) as tab:
        html = tab.until("Hello")
        assert "world" not in html
        gate.open()
        html = tab.until(ENDED)
        assert "<strong>world</strong>" in html
        assert 'data-status="complete"' in html


def test_every_tab_sees_everything(owner, running):
    conversation, gate = running
    with Tab(owner, conversation) as first, Tab(owner, conversation) as second:
        for tab in (first, second):
            tab.until("Hello")
        gate.open()
        for tab in (first, second):
            tab.until("<strong>world</strong>")
            tab.until(ENDED)


def test_a_tab_that_comes_back_has_it_all(owner, running):
    conversation, gate = running
    with Tab(owner, conversation) as tab:
        tab.until("Hello")
    gate.open()
    with Tab(owner, conversation) as tab:
        html = tab.until(ENDED)
        assert "Hello" in html
        assert "<strong>world</strong>" in html


def test_a_tab_that_was_away_for_the_whole_reply_has_it_all(owner, running):
    conversation, gate = running
    gate.open()
    owner.wait_for_reply(conversation, "complete")
    with Tab(owner, conversation) as tab:
        assert "<strong>world</strong>" in tab.until(ENDED)


def test_a_tab_that_is_up_to_date_is_told_nothing(owner):
    conversation = owner.send("Say hello")
    owner.wait_for_reply(conversation, "complete")
    page = owner.get(f"/c/{conversation}/").text
    version = int(page.split('data-version="')[-1].split('"')[0])
    for part in page.split('data-version="')[1:]:
        version = max(version, int(part.split('"')[0]))
    sidebar = int(page.split('id="sidebar"')[1].split('data-version="')[1].split('"')[0])
    with Tab(owner, conversation, version=version, sidebar=sidebar) as tab:
        frame = tab.receive(7)
        assert "beat" in frame or "data-message" not in tab.html


def test_another_tabs_question_appears(owner, gateway):
    conversation = owner.send("one")
    owner.wait_for_reply(conversation, "complete")
    with Tab(owner, conversation) as tab:
        tab.until("one")
        owner.send("two from another tab", conversation)
        tab.until("two from another tab")


def test_a_new_conversation_appears_in_every_sidebar(owner):
    with Tab(owner) as tab:
        conversation = owner.send("Something for the sidebar")
        tab.until(conversation)
        tab.until("Something for the sidebar")
        owner.wait_for_reply(conversation, "complete")


def test_frames_are_in_the_language_of_the_page(server, gateway):
    russian = server.visitor(**{"Accept-Language": "ru"}).log_in()
    gateway.reply("half", Hang())
    conversation = russian.send("Say hello")
    russian.wait_for_text(conversation, "half")
    reply = russian.last(conversation)["id"]
    socket = russian.socket(**{"Accept-Language": "ru"})
    with socket:
        socket.receive()
        socket.say({"watch": {"protocol": PROTOCOL, "conversation": conversation, "version": 0}})
        socket.receive_until("Остановить")
        russian.post(f"/m/{reply}/stop/")
        socket.receive_until("stopped")


# --- who may know -------------------------------------------------------------------------------


def closed_with(socket: Socket, deadline_s: float = 6) -> int:
    """The code with which the server closes, whatever it says before."""
    end = time.monotonic() + deadline_s
    try:
        while time.monotonic() < end:
            socket.receive(max(0.1, end - time.monotonic()))
    except ConnectionClosed:
        return socket.connection.close_code or 0
    raise AssertionError("the socket stays open")


def test_without_a_login_it_closes_with_4401(server):
    with server.visitor().socket() as socket:
        assert closed_with(socket) == 4401


@pytest.mark.parametrize("cookie", ["sessionid=nonsense", "sessionid=", "=;;="])
def test_with_a_wrong_login_it_closes_with_4401(server, cookie):
    with server.visitor().socket(Cookie=cookie) as socket:
        assert closed_with(socket) == 4401


def test_a_logout_ends_it(server):
    session = server.visitor().log_in()
    with session.socket() as socket:
        socket.receive()
        session.post("/logout/")
        assert closed_with(socket) == 4401


def test_a_logout_elsewhere_does_not_end_it(server, owner):
    session = server.visitor().log_in()
    with owner.socket() as socket:
        socket.receive()
        session.post("/logout/")
        assert "beat" in socket.receive(6)


def test_a_new_password_ends_it(server, member):
    name, session = member
    with server.visitor().log_in(name).socket() as socket:
        socket.receive()
        new = "a longer horse battery"
        fields = {"old_password": PASSWORD, "new_password1": new, "new_password2": new}
        session.get("/password/")
        assert session.post("/password/", fields).status_code in (200, 302, 303)
        assert closed_with(socket) == 4401


def test_disabling_a_person_ends_it(server, member):
    name, session = member
    with session.socket() as socket:
        socket.receive()
        query = f"User.objects.filter(username={name!r}).update(is_active=False)"
        server.manage("shell", "-v0", "-c", f"from chat.models import User; {query}")
        assert closed_with(socket) == 4401


@pytest.mark.parametrize("id", ["stranger's", "00000000-0000-4000-8000-000000000000"])
def test_what_is_not_mine_closes_with_4404(owner, member, id):  # noqa: A002
    _, stranger = member
    if id == "stranger's":
        id = owner.send("Not for you")  # noqa: A001
        owner.wait_for_reply(id, "complete")
    with Tab(stranger, id) as tab:
        assert closed_with(tab.socket) == 4404
        assert "Not for you" not in tab.html


def test_deleting_the_conversation_closes_with_4404(owner, running):
    conversation, _gate = running
    with Tab(owner, conversation) as tab:
        tab.until("Hello")
        owner.post(f"/c/{conversation}/delete/")
        assert closed_with(tab.socket) == 4404


def test_a_stranger_hears_nothing_of_what_others_do(owner, member):
    _, stranger = member
    with Tab(stranger) as tab:
        conversation = owner.send("Not for you")
        owner.wait_for_reply(conversation, "complete")
        tab.until("", 1)
        while "beat" not in tab.receive(6):
            pass
        assert conversation not in tab.html


@pytest.mark.parametrize(
    "origin", ["http://evil.example", "null", "https://127.0.0.1", "http://127.0.0.1"]
)
def test_a_foreign_origin_is_refused_before_it_begins(owner, origin):
    with pytest.raises(InvalidStatus) as refused, owner.socket(Origin=origin):
        pass
    assert refused.value.response.status_code == 403


def test_only_one_address_has_a_socket(owner, server):
    address = f"ws://127.0.0.1:{server.port}/ws/other/"
    with pytest.raises(InvalidStatus) as refused, connect(address, origin=server.url, proxy=None):
        pass
    assert refused.value.response.status_code in (403, 404)


# --- what it bears ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "frame",
    [
        "",
        "nonsense",
        "[]",
        "null",
        "1",
        "{}",
        '{"watch": 1}',
        '{"watch": {"conversation": 7}}',
        '{"watch": {"conversation": "nonsense"}}',
        '{"watch": {"version": -1}}',
        '{"watch": {"version": 1e400}}',
        '{"watch": {"version": true}}',
        '{"watch": {"cursors": [1]}}',
        '{"watch": {"cursors": {"x": [1]}}}',
        '{"watch": {"cursors": {"x": [1, 2, -3]}}}',
        '{"ack": "1"}',
        '{"ack": 1e999}',
        "[" * 10_000,
        '{"watch": {"conversation": "\\ud800"}}',
        b"\xff\xfe",
    ],
    ids=lambda frame: repr(frame[:50]),
)
def test_a_malformed_frame_is_answered_and_the_socket_lives(owner, frame):
    with owner.socket() as socket:
        socket.receive()
        for each in (frame, "{}"):
            socket.connection.send(each)
            assert "error" in json.loads(socket.receive())


@pytest.mark.parametrize("size", [16 * 1024 + 1, 60 * 1024, 1024 * 1024])
def test_a_frame_that_is_too_big_closes_with_1009(owner, size):
    with owner.socket() as socket:
        socket.receive()
        socket.connection.send('{"watch": "' + "x" * size + '"}')
        assert closed_with(socket) == 1009


def test_too_many_frames_close_with_4429(owner):
    with owner.socket() as socket:
        socket.receive()
        with suppress(ConnectionClosed):
            for _ in range(2000):
                socket.say({"ack": 1})
        assert closed_with(socket) == 4429


def test_a_tab_that_leaves_in_the_middle_stops_nothing(owner, running, gateway):
    conversation, gate = running
    with Tab(owner, conversation) as tab:
        tab.until("Hello")
        tab.socket.connection.socket.close()
    gate.open()
    assert owner.wait_for_reply(conversation, "complete")["text"] == "Hello **world**"
    assert len(gateway.calls) == 1
