"""The promises whose times are scaled down elsewhere, each at its stated time: `make full-time`."""

import asyncio
import signal
import threading
import time
from contextlib import suppress

import pytest
from playwright.sync_api import expect
from websockets.exceptions import ConnectionClosed

from tests.chaos.proxy import Proxy
from tests.script import Every, Hang, chunk
from tests.server import free_port
from tests.test_socket import Tab
from tests.waiting import until

pytestmark = pytest.mark.full_time
WORDS = Every(chunk({"content": "word "}), 0.05)
MINUTE_S = 60.0


def test_d1_and_d8_a_dead_owner_is_noticed_within_fifteen_seconds(start_server, gateway):
    server = start_server(POTOK_LEASE_S="10")
    owner = server.visitor().set_up()
    gateway.reply(WORDS)
    conversation = owner.send("Talk")
    owner.wait_for_text(conversation, "word word ")
    server.runner.kill()
    killed_at = time.monotonic()
    server.start()  # in the embedded form it is the start that notices
    reply = owner.wait_for_reply(conversation, "interrupted", 15)
    assert time.monotonic() - killed_at < 15
    assert reply["error"]["kind"] == "crash"
    assert reply["usage"]["confidence"] == "estimated"


def test_d2_replies_get_twenty_seconds_and_the_process_ends_five_later_at_most(
    start_server, gateway
):
    server = start_server(POTOK_DRAIN_S="20")
    owner = server.visitor().set_up()
    gateway.reply("half ", Hang())
    conversation = owner.send("Talk")
    owner.wait_for_text(conversation, "half ")
    with owner.socket() as deaf:
        deaf.receive()
        began = time.monotonic()
        server.signal(signal.SIGTERM)
        assert server.runner.wait(25) == 0
        assert 20 <= time.monotonic() - began <= 25
        assert server.wait(25) == 0
    server.start()
    reply = owner.last(conversation)
    assert (reply["text"], reply["error"]["kind"]) == ("half ", "restart")


@pytest.fixture
def network():
    """A proxy between page and server that can be frozen, on a loop of its own."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    made: list[Proxy] = []

    def make(port: int, target: int) -> Proxy:
        made.append(Proxy(port, target))
        asyncio.run_coroutine_threadsafe(made[0].start(), loop).result(10)
        return made[0]

    yield make, loop.call_soon_threadsafe
    for proxy in made:
        asyncio.run_coroutine_threadsafe(proxy.close(), loop).result(10)
    loop.call_soon_threadsafe(loop.stop)
    thread.join(10)
    loop.close()


def test_d3_a_page_whose_connection_froze_for_ten_minutes_shows_the_row_two_seconds_later(
    start_server, gateway, network, open_page
):
    make, on_loop = network
    port = free_port()
    server = start_server(POTOK_URL=f"http://127.0.0.1:{port}")
    proxy = make(port, server.port)
    server.url = proxy.url
    owner = server.visitor().set_up()
    gate = gateway.gate()
    gateway.reply("Hello ", gate, "world")
    conversation = owner.send("Say hello")
    gate.wait_reached()
    page = open_page(owner)
    page.goto(f"/c/{conversation}/")
    page.locator("body[data-connection=live]").wait_for()
    on_loop(proxy.freeze)
    frozen_at = time.monotonic()
    gate.open()
    gateway.wait_for_request().wait_answered()
    until(lambda: time.monotonic() > frozen_at + 10 * MINUTE_S, "ten minutes", 11 * MINUTE_S)
    expect(page.locator("body")).not_to_have_attribute("data-connection", "live")
    on_loop(proxy.thaw)
    reply = page.locator("[data-role=assistant][data-status=complete]")
    expect(reply).to_contain_text("Hello world", timeout=2_000)
    lived = page.locator("#messages").evaluate("e => e.outerHTML")
    page.reload()
    assert page.locator("#messages").evaluate("e => e.outerHTML") == lived
    assert len(gateway.calls) == 1


def test_d3_a_reader_that_never_acknowledges_is_let_go_after_thirty_seconds(owner, gateway):
    gateway.reply(WORDS)
    conversation = owner.send("Talk")
    began = time.monotonic()  # the first frame is one that it should acknowledge
    with owner.socket() as deaf, Tab(owner, conversation) as other:
        deaf.say({"watch": {"protocol": 1, "conversation": conversation, "version": 0}})
        with suppress(ConnectionClosed):
            while True:
                deaf.receive(40)
                other.receive()
        assert deaf.connection.close_code == 1013
        assert 30 <= time.monotonic() - began < 36
        seen = other.html.count("word")
        until(lambda: other.receive() and other.html.count("word") > seen, "the other goes on")
    owner.post(f"/m/{owner.last(conversation)['id']}/stop/")
    owner.wait_for_reply(conversation, "stopped")


def test_d7_one_byte_a_minute_ends_at_the_total_cap(start_server, gateway):
    """With the stated limits between two bytes, and five minutes in all instead of an hour."""
    server = start_server(POTOK_TOTAL_S="300")
    owner = server.visitor().set_up()
    gateway.script("half", Every(b":", MINUTE_S))
    began = time.monotonic()
    reply = owner.wait_for_reply(owner.send("Say hello"), deadline_s=310)
    assert time.monotonic() - began >= 299
    assert (reply["status"], reply["error"]["kind"]) == ("interrupted", "timeout")
    assert reply["text"] == "half"


def test_d9_the_database_is_away_for_thirty_seconds(server, owner, gateway):
    gateway.reply(WORDS)
    conversation = owner.send("Talk")
    owner.wait_for_text(conversation, "word word ")
    with Tab(owner, conversation) as tab:
        tab.until("word")
        with server.without_database():
            away_since = time.monotonic()
            tab.until('data-saved="false"', 5)
            told = seen_chars(tab)
            while time.monotonic() < away_since + 30:
                tab.receive()
            seen = seen_chars(tab)
            assert seen > told + 100, "it goes on in view"
        until(lambda: len(owner.last(conversation)["text"]) >= seen, "all of it is saved")
        owner.post(f"/m/{owner.last(conversation)['id']}/stop/")
        reply = owner.wait_for_reply(conversation, "stopped")
    assert set(reply["text"].split()) == {"word"}
    assert len(gateway.calls) == 1


def seen_chars(tab: Tab) -> int:
    """So much text of its running reply has come down."""
    cursors = [each for frame in tab.frames for each in frame.get("cursors", {}).values()]
    return max((text for _, _, text in cursors), default=0)
