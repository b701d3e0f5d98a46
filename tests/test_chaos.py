"""Chaos in short: a few rounds, and bugs planted outside of the product that it has to find."""

import subprocess
import sys

import pytest
from playwright.sync_api import expect

from tests.server import ROOT


def chaos(*arguments: str) -> str:
    """What the command prints; AssertionError unless it ends with 0."""
    command = [sys.executable, "-m", "tests.chaos", *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


# Its seed is random: a failure prints how to replay it.
@pytest.mark.parametrize("form", ["embedded", "scaled"])
def test_no_promise_is_broken_in_a_round(form):
    assert "1 rounds counted" in chaos("--form", form, "--rounds", "1")


def test_planted_bugs_are_found():
    assert "not found" not in chaos("--planted", "D3", "D6", "--seed", "1")


# --- what chaos found, each in a test of its own ----------------------------------------------

CODE = ["one\n", "two 🧵\n", "three\n"]
TABLE = ["- one\n\n  | a | b |\n  |---|---|\n  | c | d |\n\n", "- two\n\n", "- three\n\n"]


@pytest.mark.parametrize(
    "pieces",
    [["```\n", *CODE, "```\n"], ["```python\n", *CODE, "```\n"], TABLE],
    ids=["plain code", "code", "a table in a list"],
)
def test_what_grew_piece_by_piece_is_what_a_fresh_load_shows(gateway, owner, page, pieces):
    gates = [gateway.gate() for _ in pieces]
    gateway.reply(*(step for pair in zip(pieces, gates, strict=True) for step in pair))
    conversation = owner.send("Write something")
    page.goto(f"/c/{conversation}/")
    body = page.locator("[data-part=body].prose")
    for gate, piece in zip(gates, pieces, strict=True):
        gate.wait_reached()
        for word in ("one", "two", "three"):
            if word in piece:
                expect(body).to_contain_text(word)
        gate.open()
    page.locator("[data-role=assistant][data-status=complete]").wait_for()
    lived = page.locator("#messages").evaluate("e => e.outerHTML")
    page.reload()
    assert page.locator("#messages").evaluate("e => e.outerHTML") == lived


def test_a_frame_may_be_larger_than_what_may_come_in(gateway, owner):
    """A page that opens or comes back late is sent a long reply in one piece."""
    gate = gateway.gate()
    gateway.reply("word " * 40_000, gate)
    conversation = owner.send("Write a lot")
    gate.wait_reached()
    with owner.socket() as socket:
        watch = {"conversation": conversation, "version": 0, "sidebar": 0}
        socket.say({"watch": watch})
        frames = socket.receive_until("(word ){39999}")
        assert len(frames[-1]) > 64 * 1024
    gate.open()
    owner.wait_for_reply(conversation, "complete")
