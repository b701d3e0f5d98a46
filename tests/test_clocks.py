"""The machine's clock jumps while replies run: nobody dies of it, nothing changes places.

libfaketime stands between the servers and the clock of the day. The monotonic clock, which no
administrator and no time server can set, goes on.
"""

import re
import time

import pytest

from tests.script import Every, chunk
from tests.services import faketime
from tests.test_socket import Tab
from tests.waiting import until

DAY_S = 24 * 3600
LEASE_S = 2.0


class Clock:
    """The clock of the day of the servers that have `env`."""

    def __init__(self, path):
        self._path = path
        self.env = {
            "LD_PRELOAD": faketime(),
            "FAKETIME_TIMESTAMP_FILE": str(path),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "FAKETIME_FORCE_MONOTONIC_FIX": "0",
        }
        self.jump(0)

    def jump(self, to_s: float) -> None:
        """Let it be so many seconds off from now on."""
        self._path.write_text(f"{to_s:+.0f}\n")


@pytest.fixture
def clock(tmp_path):
    return Clock(tmp_path / "offset")


@pytest.fixture
def owner(start_server, clock):
    server = start_server(**clock.env, POTOK_LEASE_S=f"{LEASE_S:g}")
    return server.visitor().set_up()


def seconds_off(owner) -> float:
    """By how much the server's clock is off, as its pages have it."""
    return int(re.search(r'data-now="(\d+)"', owner.get("/").text)[1]) - time.time()


def test_a_running_reply_lives_through_every_jump(owner, clock, gateway):
    gateway.reply(Every(chunk({"content": "word "}), 0.05))
    conversation = owner.send("Talk")
    with Tab(owner, conversation) as tab:
        tab.until("word")
        for offset_s in (3600, -DAY_S, 7 * DAY_S, 0):
            clock.jump(offset_s)
            until(lambda s=offset_s: abs(seconds_off(owner) - s) < 60, "the clock has jumped")
            seen = tab.html.count("word")
            # Longer than it takes to be taken for dead.
            began = time.monotonic()
            while time.monotonic() - began < LEASE_S + 1:
                tab.receive()
            assert tab.html.count("word") > seen, "the page goes on"
            assert owner.last(conversation)["status"] == "streaming"
    owner.post(f"/m/{owner.last(conversation)['id']}/stop/")
    gateway.wait_for_request().wait_closed(3)
    reply = owner.wait_for_reply(conversation)
    assert reply["status"] == "stopped"
    assert re.fullmatch("(word )+", reply["text"])
    assert len(gateway.calls) == 1


def test_messages_stand_in_the_order_in_which_they_came(owner, clock, gateway):
    conversation = None
    for number, offset_s in enumerate((0, 2 * DAY_S, -2 * DAY_S, -DAY_S, 3600)):
        clock.jump(offset_s)
        until(lambda s=offset_s: abs(seconds_off(owner) - s) < 60, "the clock has jumped")
        gateway.reply(f"answer {number}")
        conversation = owner.send(f"question {number}", conversation)
        owner.wait_for_reply(conversation, "complete")
    texts = [each["text"] for each in owner.export(conversation)["messages"]]
    assert texts == [f"{word} {n}" for n in range(5) for word in ("question", "answer")]
    page = owner.get(f"/c/{conversation}/").text
    assert re.findall(r"answer \d", page) == [f"answer {n}" for n in range(5)]
    sent = gateway.calls[-1].json["messages"]
    assert [each["content"] for each in sent] == texts[:-1]


def test_a_queued_reply_is_claimed_and_a_limit_waited_for_across_a_jump(owner, clock, gateway):
    gateway.refuse(503, "", {"Retry-After": "1"})
    gateway.reply("after all")
    gate = gateway.gate()
    gateway.reply("second", gate)
    conversation = owner.send("first")
    gateway.wait_for_request().wait_answered()
    owner.send("then", conversation)
    clock.jump(-DAY_S)
    gate.wait_reached()
    clock.jump(DAY_S)
    gate.open()
    reply = owner.wait_for_reply(conversation, "complete")
    assert reply["text"] == "second"
    messages = owner.export(conversation)["messages"]
    assert [each["text"] for each in messages] == ["first", "after all", "then", "second"]
