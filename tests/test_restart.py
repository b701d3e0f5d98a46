"""Going down and coming back: nothing that was seen is lost, nothing is asked for twice.

The worker's server is what goes down here: it comes back with the users and the address it had.
"""

import json
import re
import signal
import threading
import time
from contextlib import closing, suppress

import httpx
import pytest
from websockets.exceptions import ConnectionClosed

from tests.script import Every, Hang, Reasoning, chunk, usage_of
from tests.server import Client, Server
from tests.waiting import until


def words(start: int, count: int) -> str:
    return "".join(f"word{number} " for number in range(start, start + count))


# --- killed -------------------------------------------------------------------------------------


def test_a_killed_server_leaves_a_prefix_and_says_so(server, owner, gateway):
    """At most half a second of what was sent is missing, and nothing is there twice."""
    gateway.reply(Reasoning("hm "), words(0, 50), Every(chunk({"content": "more "}), 0.02))
    conversation = owner.send("Say hello")
    owner.wait_for_text(conversation, "more more more ")
    call = gateway.wait_for_request()
    sent_before = call.sent_bytes
    until(lambda: call.sent_bytes > sent_before + 2000, "more is sent")
    server.kill()
    server.start()
    reply = owner.wait_for_reply(conversation, deadline_s=15)
    assert (reply["status"], reply["error"]["kind"]) == ("interrupted", "crash")
    assert reply["reasoning"] == "hm "
    assert re.fullmatch(re.escape(words(0, 50)) + "(more )+", reply["text"])
    assert reply["usage"]["confidence"] == "estimated"
    assert reply["usage"]["completion_tokens"] > 0
    page = owner.get(f"/c/{conversation}/").text
    assert '<button name="continue"' in page
    assert '<button name="retry"' in page
    assert len(gateway.calls) == 1


def test_at_most_half_a_second_of_what_a_reader_saw_is_lost(server, owner, gateway):
    gate = gateway.gate()
    gateway.reply("seen for a second", gate)
    conversation = owner.send("Say hello")
    gate.wait_reached()
    with owner.socket() as socket:
        socket.receive()
        socket.say({"watch": {"conversation": conversation, "version": 0}})
        socket.receive_until("seen for a second")
        seen_at = time.monotonic()
        until(lambda: time.monotonic() > seen_at + 0.5, "half a second")
        server.kill()
    server.start()
    assert owner.wait_for_reply(conversation)["text"] == "seen for a second"


def test_a_complete_reply_survives_a_kill_at_once(server, owner, gateway):
    gateway.reply("all of it", usage=usage_of(3, 4))
    conversation = owner.send("Say hello")
    before = owner.wait_for_reply(conversation, "complete")
    server.kill()
    server.start()
    assert owner.last(conversation) == before


def test_a_kill_at_the_commit_leaves_all_of_it(server, owner, gateway):
    """Text, end and usage are there together: the end is seen by nobody before the rest is stored."""
    gate = gateway.gate()
    gateway.reply("all of it", gate, usage=usage_of(3, 4))
    conversation = owner.send("Say hello")
    gate.wait_reached()
    gate.open()
    last = "SELECT status FROM chat_generation ORDER BY id DESC LIMIT 1"
    while server.row(last) != ("complete",):
        pass
    server.kill()
    server.start()
    reply = owner.last(conversation)
    assert (reply["status"], reply["text"]) == ("complete", "all of it")
    assert (reply["usage"]["total_tokens"], reply["usage"]["confidence"]) == (7, "exact")


def test_an_interrupted_reply_goes_on(server, owner, gateway):
    gateway.reply("Once upon", Hang())
    conversation = owner.send("A story")
    owner.wait_for_text(conversation, "Once upon")
    server.kill()
    server.start()
    reply = owner.wait_for_reply(conversation)
    gateway.reply(" a time.")
    owner.post(f"/m/{reply['id']}/continue/")
    done = owner.wait_for_reply(conversation, "complete")
    assert (done["id"], done["text"], done["error"]) == (reply["id"], "Once upon a time.", None)


def test_a_queued_reply_survives_a_kill(server, owner, gateway):
    gate = gateway.gate()
    gateway.reply("first", gate)
    gateway.reply("second", when=lambda call: call.prompt == "elsewhere")
    running = owner.send("one")
    gate.wait_reached()
    owner.send("two", running)
    server.kill()
    server.start()
    until(lambda: replies_of(owner, running) == ["interrupted", "queued"], "the first is given up")
    held = owner.last(running)["id"]
    gateway.reply("second after all")
    owner.post(f"/m/{held}/retry/")
    assert owner.wait_for_reply(running, "complete")["text"] == "second after all"
    assert owner.wait_for_reply(owner.send("elsewhere"), "complete")["text"] == "second"


def replies_of(owner: Client, conversation: str) -> list[str]:
    messages = owner.export(conversation)["messages"]
    return [each["status"] for each in messages if each["role"] == "assistant"]


# --- asked to end -------------------------------------------------------------------------------


def test_a_reply_may_finish_while_the_server_goes_down(server, owner, gateway):
    gate = gateway.gate()
    gateway.reply("Hello ", gate, "world", usage=usage_of(3, 4))
    conversation = owner.send("Say hello")
    gate.wait_reached()
    server.signal(signal.SIGTERM)
    until(lambda: is_draining(server), "the server says that it goes down")
    gate.open()
    assert server.wait(10) == 0
    server.start()
    reply = owner.last(conversation)
    assert (reply["status"], reply["text"]) == ("complete", "Hello world")
    assert reply["usage"]["confidence"] == "exact"


def is_draining(server: Server) -> bool:
    """It says so; a web process that runs no replies itself has nothing to wait for and is gone."""
    try:
        answer = httpx.get(f"{server.url}/readyz", trust_env=False)
    except httpx.TransportError:
        return True
    return answer.status_code == 503 and answer.json()["draining"] not in ("ok", "off")


def test_what_does_not_finish_in_time_is_interrupted(start_server, gateway):
    server = start_server(POTOK_DRAIN_S="1")
    owner = server.visitor().set_up()
    gateway.reply("half ", Hang())
    conversation = owner.send("Say hello")
    owner.wait_for_text(conversation, "half ")
    began = time.monotonic()
    assert server.terminate(1 + 5) == 0
    assert time.monotonic() - began >= 1
    gateway.wait_for_request().wait_closed()
    server.start()
    reply = owner.last(conversation)
    assert (reply["status"], reply["error"]["kind"]) == ("interrupted", "restart")
    assert reply["text"] == "half "
    assert reply["usage"]["confidence"] == "estimated"


def test_a_reply_that_is_whole_and_waits_to_be_saved_is_not_cut_by_the_limit(start_server, gateway):
    server = start_server(POTOK_DRAIN_S="1")
    owner = server.visitor().set_up()
    gate = gateway.gate()
    gateway.reply("Hello ", gate, "world")
    conversation = owner.send("Say hello")
    gate.wait_reached()
    with owner.socket() as socket:
        socket.receive()
        socket.say({"watch": {"conversation": conversation, "version": 0}})
        socket.receive_until("Hello")
        with server.without_database():
            gate.open()
            socket.receive_until("world")
            server.signal(signal.SIGTERM)
            # What is proved is that nothing happens as the limit of a second passes: no event says so.
            time.sleep(2)
    assert server.wait(10) == 0
    server.start()
    reply = owner.last(conversation)
    assert (reply["status"], reply["text"]) == ("complete", "Hello world")


@pytest.mark.one_form
def test_a_claim_that_is_under_way_as_the_word_comes_is_looked_after(start_server, gateway):
    server = start_server(POTOK_DRAIN_S="1")
    owner = server.visitor().set_up()
    first, second = gateway.gate(), gateway.gate()
    gateway.reply("One ", first)
    gateway.reply("Two ", second)
    conversation = owner.send("Count")
    first.wait_reached()
    owner.send("Go on", conversation)
    reply = owner.export(conversation)["messages"][1]
    owner.post(f"/m/{reply['id']}/stop/")
    until(lambda: owner.export(conversation)["messages"][1]["status"] == "stopped", "it stops")
    with server.without_database() as holder:
        # Let it go, without a bell; the claim waits for its turn to write.
        holder.execute("UPDATE chat_generation SET waits_for_id = NULL WHERE status = 'queued'")
        # A second and a half: the runner looks once a second, and no event says that it waits.
        time.sleep(1.5)
        server.signal(signal.SIGTERM)
        until(lambda: is_draining(server), "the server says that it goes down")
        holder.execute("COMMIT")
    assert server.wait(15) == 0
    newest = "SELECT status, error_kind FROM chat_generation ORDER BY id DESC"
    assert server.row(newest) == ("interrupted", "restart")


@pytest.mark.one_form
def test_while_it_goes_down_nothing_new_begins(server, owner, gateway):
    gate = gateway.gate()
    gateway.reply("Hello ", gate)
    conversation = owner.send("Say hello")
    gate.wait_reached()
    with owner.socket() as open_before:
        open_before.receive()
        server.signal(signal.SIGTERM)
        until(lambda: is_draining(server), "the server says that it goes down")

        for htmx in (True, False):
            refused = owner.post(f"/c/{conversation}/messages/", {"text": "too late"}, htmx=htmx)
            assert refused.status_code == 503
            assert int(refused.headers["Retry-After"]) > 0
            assert 'role="alert"' in refused.text
        assert owner.get("/healthz").status_code == 200
        assert owner.get(f"/c/{conversation}/").status_code == 200
        with owner.socket() as opened_late:
            assert close_code(opened_late) == 1012
        gate.open()
        assert close_code(open_before) == 1012
    assert server.wait(10) == 0
    server.start()
    assert len(owner.export(conversation)["messages"]) == 2


def close_code(socket, deadline_s: float = 10) -> int:
    try:
        while True:
            socket.receive(deadline_s)
    except ConnectionClosed:
        return socket.connection.close_code or 0


@pytest.mark.one_form
def test_an_open_page_sees_the_last_words_before_the_socket_closes(server, owner, gateway):
    gate = gateway.gate()
    gateway.reply("Hello ", gate, "world")
    conversation = owner.send("Say hello")
    gate.wait_reached()
    with owner.socket() as socket:
        socket.receive()
        socket.say({"watch": {"conversation": conversation, "version": 0}})
        socket.receive_until("Hello")
        server.signal(signal.SIGTERM)
        until(lambda: is_draining(server), "the server says that it goes down")
        gate.open()
        socket.receive_until("world")
        assert close_code(socket) == 1012
    assert server.wait(10) == 0


def test_a_queued_reply_is_answered_after_the_restart(server, owner, gateway):
    gate = gateway.gate()
    gateway.reply("first", gate)
    conversation = owner.send("one")
    gate.wait_reached()
    owner.send("two", conversation)
    server.signal(signal.SIGTERM)
    until(lambda: is_draining(server), "the server says that it goes down")
    gate.open()
    assert server.wait(10) == 0
    assert len(gateway.calls) == 1
    gateway.reply("second")
    server.start()
    assert owner.wait_for_reply(conversation, "complete")["text"] == "second"
    assert len(gateway.calls) == 2


def test_a_retry_across_a_restart_is_one_message(server, owner, gateway):
    key = "a key of its own"
    conversation = owner.send("once", client_key=key)
    owner.wait_for_reply(conversation, "complete")
    server.restart()
    assert owner.send("once", client_key=key) == conversation
    assert len(owner.export(conversation)["messages"]) == 2
    assert len(gateway.calls) == 1


def test_a_client_that_never_ends_does_not_hold_the_server_up(start_server):
    server = start_server(POTOK_DRAIN_S="0")
    owner = server.visitor().set_up()
    with (
        owner.socket() as deaf,
        closing(httpx.Client(base_url=server.url, trust_env=False)) as slow,
    ):
        deaf.receive()
        body = Endless()
        posting = threading.Thread(target=body.post, args=(slow,))
        posting.start()
        body.begun.wait(5)
        began = time.monotonic()
        server.signal(signal.SIGTERM)
        server.wait(6)
        assert time.monotonic() - began < 5.5
        body.over.set()
        posting.join(10)


class Endless:
    """A request body that doesn't come to its end."""

    def __init__(self) -> None:
        self.begun, self.over = threading.Event(), threading.Event()

    def __iter__(self):
        yield b"text="
        self.begun.set()
        while not self.over.wait(0.1):
            yield b"a"

    def post(self, client: httpx.Client) -> None:
        with suppress(httpx.TransportError):
            client.post("/messages/", content=iter(self))


def test_an_interrupt_from_the_keyboard_ends_it_cleanly(server):
    before = len(server.log)
    server.signal(signal.SIGINT)
    assert server.wait(10) == 0
    assert "Traceback" not in server.log[before:]


def test_a_second_signal_ends_it_at_once(server, owner, gateway):
    gateway.reply("half ", Hang())
    conversation = owner.send("Say hello")
    owner.wait_for_text(conversation, "half ")
    server.signal(signal.SIGTERM)
    until(lambda: is_draining(server), "the server says that it goes down")
    server.signal(signal.SIGTERM)
    assert server.wait(2) == 128 + signal.SIGTERM
    server.start()
    assert owner.wait_for_reply(conversation)["error"]["kind"] == "crash"
    assert json.dumps(owner.export(conversation)).count("half ") == 1
