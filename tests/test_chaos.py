"""Chaos in short: a few rounds, and bugs planted outside of the product that it has to find."""

import pytest
from playwright.sync_api import expect

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
