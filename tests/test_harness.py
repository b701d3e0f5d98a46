"""The harness itself: a real server, a client, a socket and a page agree on one reply."""

import os
import re
import socket

import httpx
import pytest

from tests.chaos.shown import OPS
from tests.server import ROOT


def test_a_reply_reaches_the_page_the_export_and_the_gateway(gateway, owner, page):
    gate = gateway.gate()
    gateway.reply("Hello ", gate, "world", usage={"prompt_tokens": 3, "completion_tokens": 2})
    conversation = owner.send("Say hello")
    call = gateway.wait_for_request()
    assert call.prompt == "Say hello"
    gate.wait_reached()
    page.goto(f"/c/{conversation}/")
    reply = page.locator("[data-role=assistant]")
    assert reply.get_attribute("data-status") in ("queued", "streaming")
    gate.open()
    reply.and_(page.locator("[data-status=complete]")).wait_for()
    assert "Hello world" in reply.inner_text()
    assert owner.wait_for_reply(conversation, "complete")["text"] == "Hello world"


def test_a_killed_server_comes_back_with_its_users(fresh_server):
    owner = fresh_server.visitor().set_up()
    fresh_server.kill()
    assert not fresh_server.is_running
    fresh_server.start()
    assert owner.get("/").status_code == 200


def test_a_terminated_server_ends_with_zero(fresh_server):
    assert fresh_server.terminate() == 0


def test_a_server_that_will_not_start_shows_its_log(start_server):
    with pytest.raises(AssertionError, match="POTOK_DEMO must be 0, 1 or faults"):
        start_server(POTOK_DEMO="perhaps")


def test_a_member_is_no_stranger(server):
    assert server.add_user("member").get("/").status_code == 200
    assert server.visitor().get("/").status_code == 302


def test_a_socket_opens_with_the_sessions_cookies(owner):
    with owner.socket() as socket:
        assert socket.receive()


@pytest.mark.parametrize("address", ["http://192.0.2.1/", "http://gateway.example/"])
def test_no_test_reaches_another_host(address):
    with pytest.raises(AssertionError, match="reaches out"):
        httpx.get(address, trust_env=False, timeout=1)
    with socket.socket() as probe, pytest.raises(AssertionError, match="reaches out"):
        probe.connect(("192.0.2.1", 80))


def test_no_key_of_the_developers_reaches_a_test(server):
    assert [name for name in os.environ if name.endswith("_API_KEY")] == []
    assert server.env["OPENAI_API_KEY"] == "sk-test"


def test_the_page_of_the_fault_tests_knows_what_the_real_one_knows():
    script = (ROOT / "static/js/socket.js").read_text()
    known = re.search(r"^const apply = {\n(.*?)^}", script, re.M | re.S)[1]
    assert set(OPS) == set(re.findall(r"^  (\w+)\(.*\) {$", known, re.M))
