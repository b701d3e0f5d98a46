"""Chaos in short: a few rounds, and bugs planted outside of the product that it has to find."""

import subprocess
import sys

import pytest
from playwright.sync_api import expect

from tests.server import ROOT


def chaos(*arguments: str) -> str:
    """What the command prints; AssertionError unless it ends with 0."""
    command = [sys.executable, "-m", "tests.chaos", *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


# The seeds of the second are random: a failure prints how to replay it.
@pytest.mark.parametrize("arguments", ["--seed 1 --rounds 1", "--rounds 2"])
def test_no_promise_is_broken_in_a_few_rounds(arguments):
    assert "0 violations" in chaos(*arguments.split())


def test_planted_bugs_are_found():
    assert "not found" not in chaos("--planted", "D3", "D6", "--seed", "1")


# --- what chaos found, each in a test of its own ----------------------------------------------

FENCE = "```\n", "one\n", "two 🧵\n", "three\n", "```\n", "\nafter"


@pytest.mark.parametrize("language", ["", "python"])
def test_a_code_block_that_grew_is_the_one_of_a_fresh_load(gateway, owner, page, language):
    gates = [gateway.gate() for _ in FENCE]
    pieces = [FENCE[0].replace("\n", f"{language}\n"), *FENCE[1:]]
    gateway.reply(*(step for pair in zip(pieces, gates, strict=True) for step in pair))
    conversation = owner.send("Write some code")
    page.goto(f"/c/{conversation}/")
    code = page.locator("[data-part=body].prose pre code")
    for gate, word in zip(gates, ["", "one", "two", "three", "three", "three"], strict=True):
        gate.wait_reached()
        if word:
            expect(code).to_contain_text(word)
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
        watch = {"protocol": 1, "conversation": conversation, "version": 0, "sidebar": 0}
        socket.say({"watch": watch})
        frames = socket.receive_until("(word ){39999}")
        assert len(frames[-1]) > 64 * 1024
    gate.open()
    owner.wait_for_reply(conversation, "complete")
