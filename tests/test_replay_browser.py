"""A reply played back in a real browser."""

import pytest
from playwright.sync_api import expect

from tests.script import Reasoning
from tests.waiting import until


@pytest.mark.parametrize("width", [1440, 360])
def test_a_reply_is_played_to_the_same_end_and_scrubbed(open_page, owner, gateway, width):
    gates = [gateway.gate() for _ in range(3)]
    first, second, third = gates
    gateway.reply(
        Reasoning("Let me think. "),
        first,
        "# Springs\n\n",
        second,
        "High up,\n\n- rain\n",
        third,
        "- snow",
    )
    conversation = owner.send("How do rivers begin?")
    for gate, text in ((first, ""), (second, "# Springs"), (third, "- rain")):
        gate.wait_reached()
        # So that each piece has a checkpoint of its own.
        until(lambda text=text: said(owner.last(conversation), text), "it is saved")
        gate.open()
    owner.wait_for_reply(conversation, "complete")
    page = open_page(owner, viewport={"width": width, "height": 900})
    page.goto("/admin/chat/conversation/")
    page.locator("#result_list tbody tr").first.locator("a").first.click()
    page.get_by_role("link", name="Replay").click()
    page.wait_for_url("**/replay/**")
    body = page.locator("[data-part=body]")
    whole = body.inner_html()
    assert "<h1" in whole or "<h2" in whole
    reasoning = page.locator("[data-part=reasoning] .prose").inner_html()
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    steps = page.locator(".steps .sheet")
    assert steps.evaluate("e => e.scrollWidth <= e.clientWidth")
    # What happened is read in words and not letter by letter.
    assert steps.locator(".marked").last.bounding_box()["width"] >= 100

    page.locator("[name=speed]").select_option("10")
    page.get_by_role("button", name="Play").click()
    expect(page.get_by_role("button", name="Play")).to_be_visible()
    expect(body.locator("li")).to_have_count(2)
    assert body.inner_html() == whole
    assert page.locator("[data-part=reasoning] .prose").inner_html() == reasoning

    page.locator("[name=at]").fill("0")
    expect(body.locator(".block")).to_have_count(0)
    page.locator(".marks").get_by_role("link", name="first words").click()
    expect(page.locator("[data-part=reasoning] .block")).to_have_count(1)
    expect(body.locator(".block")).to_have_count(0)
    page.locator(".marks a").last.click()
    assert body.inner_html() == whole
    expect(page.locator(".steps tbody tr").first).to_be_visible()


def said(reply, text):
    return reply["reasoning"] and text in reply["text"]
