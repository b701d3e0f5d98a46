"""What streamed into a page is, to the letter, what a page loaded afresh shows."""

import re

import pytest
from playwright.sync_api import Page, expect

from tests.gateway import Gateway
from tests.script import Drop, Reasoning, Step, event
from tests.server import Client

RICH = """# Heading with *emphasis* and `code`

A paragraph with a [link](https://example.com/a), a [late one][late], $5 and $10, and $x^2 + y^2$.

- one
- two with **bold**
  1. nested
  2. again
- [x] done
- [ ] to do

| Column | Число | Right |
|:--|:-:|--:|
| a | 1 | `b` |
| Ячейка | 2 | 🚀 |

```python
def add(a: int, b: int) -> int:
    return a + b  # «да» & <tag>
```

> A quote
> of two lines

$$\\int_0^1 x\\,dx = \\tfrac{1}{2}$$

<script>alert(1)</script> is text, and so is <b>this</b>.

---

The last words.

[late]: https://example.com/late
"""


def in_pieces(text: str, size: int = 7) -> list[str]:
    return [text[at : at + size] for at in range(0, len(text), size)]


def messages(page: Page) -> str:
    return page.locator("#messages").evaluate("e => e.outerHTML")


def ask(page: Page, words: str) -> None:
    field = page.locator("#composer [name=text]")
    field.fill(words)
    field.press("Enter")


def live(page: Page, path: str) -> None:
    page.goto(path)
    page.locator("body[data-connection=live]").wait_for()


def assert_a_fresh_load_is_the_same(page: Page) -> None:
    lived = messages(page)
    page.reload()
    page.locator("body[data-connection=live]").wait_for()
    assert messages(page) == lived


ENDINGS: dict[str, tuple[list[Step], str]] = {
    "complete": ([*in_pieces(RICH)], "complete"),
    "with reasoning": ([*map(Reasoning, in_pieces(RICH[:300])), *in_pieces(RICH)], "complete"),
    "cut": ([*in_pieces(RICH[:500]), Drop()], "interrupted"),
    "failed in mid-stream": (
        [*in_pieces(RICH[:500]), event({"error": {"message": "It broke", "code": 500}})],
        "failed",
    ),
    "failed at once": ([event({"error": {"message": "It broke", "code": 400}})], "failed"),
    "empty": ([""], "failed"),
}


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_page_that_streamed_ends_in_the_same_dom_as_a_fresh_load(
    gateway: Gateway, page: Page, ending: str
) -> None:
    steps, status = ENDINGS[ending]
    gateway.reply(*steps)
    live(page, "/")
    ask(page, "Show me everything")
    page.locator(f"[data-role=assistant][data-status={status}]").wait_for()
    if status == "complete":
        expect(page.locator("[data-part=body].prose")).to_contain_text("The last words.")
    assert page.locator("#messages script").count() == 0
    assert_a_fresh_load_is_the_same(page)


def test_a_page_that_outgrew_a_fresh_one_lets_go_of_its_oldest(
    gateway: Gateway, owner: Client, page: Page
) -> None:
    conversation = owner.send("The first question")
    owner.wait_for_reply(conversation, "complete")
    owner.server.grow(conversation, 8)
    live(page, f"/c/{conversation}/")
    expect(page.locator("article")).to_have_count(18)
    expect(page.locator("#earlier a")).to_have_count(0)
    for number in (1, 2):
        gateway.reply(*in_pieces(RICH, 100))
        ask(page, f"One more, {number}")
        expect(page.locator("article").nth(-2)).to_contain_text(f"One more, {number}")
        ended = page.locator("[data-role=assistant][data-status=complete]:last-child")
        expect(ended).to_contain_text("The last words.")
    expect(page.locator("article")).to_have_count(20)
    expect(page.locator("#earlier a")).to_have_count(1)
    assert_a_fresh_load_is_the_same(page)


def test_what_was_let_go_of_comes_back_by_scrolling_up(
    gateway: Gateway, owner: Client, page: Page
) -> None:
    conversation = owner.send("The first question")
    owner.wait_for_reply(conversation, "complete")
    owner.server.grow(conversation, 9)
    live(page, f"/c/{conversation}/")
    gateway.reply(*in_pieces(RICH, 100))
    ask(page, "One more")
    expect(page.locator("[data-status=complete]:last-child")).to_contain_text("The last words.")
    expect(page.locator("article")).to_have_count(20)
    page.mouse.move(600, 300)
    page.mouse.wheel(0, -50_000)
    expect(page.locator("article")).to_have_count(22)
    asked = ["The first question", *(f"Question {n}" for n in range(1, 10)), "One more"]
    assert page.locator(".words").all_inner_texts() == asked
    expect(page.locator("#earlier a")).to_have_count(0)


def test_a_reload_midway_and_a_second_tab_show_everything_so_far_and_go_on(
    gateway, open_page, owner
):
    first, last = gateway.gate(), gateway.gate()
    pieces = in_pieces(RICH)
    gateway.reply(*pieces[:40], first, *pieces[40:], last)
    page = open_page(owner)
    live(page, "/")
    ask(page, "Show me everything")
    first.wait_reached()
    page.wait_for_url(re.compile("/c/"))
    so_far = page.locator("[data-part=body].prose")
    expect(so_far).to_contain_text("to do")

    live(page, page.url)
    expect(so_far).to_contain_text("to do")
    second = page.context.new_page()
    live(second, page.url)
    first.open()
    last.wait_reached()
    for tab in (page, second):
        expect(tab.locator("[data-part=body].prose")).to_contain_text("The last words.")
    last.open()
    for tab in (page, second):
        tab.locator("[data-role=assistant][data-status=complete]").wait_for()

    assert messages(page) == messages(second)
    assert_a_fresh_load_is_the_same(page)
    assert len([call for call in gateway.calls if call.json["stream"]]) == 1


def test_stop_in_one_tab_ends_the_reply_in_all(gateway, open_page, owner):
    gate = gateway.gate()
    gateway.reply("So far ", "so good", gate)
    page = open_page(owner)
    live(page, "/")
    ask(page, "Go on for ever")
    page.wait_for_url(re.compile("/c/"))
    second = page.context.new_page()
    live(second, page.url)
    expect(second.locator("[data-part=body].prose")).to_contain_text("so good")
    call = gateway.wait_for_request()

    second.locator("article [name=stop]").click()
    call.wait_closed(2)
    for tab in (page, second):
        tab.locator("[data-role=assistant][data-status=stopped]").wait_for()
        expect(tab.locator("article [name=stop]")).to_have_count(0)
        expect(tab.locator("[data-part=body].prose")).to_contain_text("So far so good")
    assert messages(page) == messages(second)
    assert_a_fresh_load_is_the_same(page)


def test_what_is_sent_while_a_reply_runs_is_answered_after_it(gateway, page):
    gate = gateway.gate()
    gateway.reply("The first", gate, " answer.")
    gateway.reply("The second answer.")
    live(page, "/")
    ask(page, "First")
    expect(page.locator("[data-part=body].prose").first).to_contain_text("The first")
    ask(page, "Second")
    replies = page.locator("[data-role=assistant]")
    expect(replies.nth(1)).to_have_attribute("data-status", "queued")
    gate.open()
    expect(replies.nth(1)).to_have_attribute("data-status", "complete")
    expect(replies.nth(1)).to_contain_text("The second answer.")
    asked = [message["content"] for message in gateway.calls[-1].json["messages"]]
    assert asked == ["First", "The first answer.", "Second"]
    assert_a_fresh_load_is_the_same(page)


def test_what_waits_is_changed_deleted_and_sent_now(gateway, open_page, page, owner):
    gate = gateway.gate()
    gateway.reply("The first", gate)
    gateway.reply("The second answer.")
    live(page, "/")
    ask(page, "First")
    expect(page.locator("[data-part=body].prose").first).to_contain_text("The first")
    tab = open_page(owner)
    live(tab, page.url)
    questions, replies = page.locator("[data-role=user]"), page.locator("[data-role=assistant]")
    for n, question in enumerate(["Second", "Third"], 2):
        ask(page, question)
        expect(replies).to_have_count(n)
    expect(replies.nth(1).locator("[name=retry]")).to_have_count(1)
    expect(replies.nth(2).locator("[name=retry]")).to_have_count(0)

    questions.nth(1).locator("[name=edit]").click()
    form = page.locator("form.edit")
    form.locator("textarea").fill("The second, in better words")
    form.locator("[name=save]").click()
    questions.nth(2).locator("[name=delete]").click()
    page.get_by_role("dialog").locator("[name=confirm]").click()
    expect(replies).to_have_count(2)
    for window in (page, tab):
        second = window.locator("[data-role=user]").nth(1)
        expect(second.locator("[data-part=body]")).to_have_text("The second, in better words")
        expect(second.locator(".versions")).to_have_count(0)

    replies.nth(1).locator("[name=retry]").click()
    expect(replies.nth(0)).to_have_attribute("data-status", "stopped")
    expect(replies.nth(1)).to_have_attribute("data-status", "complete")
    asked = [message["content"] for message in gateway.calls[-1].json["messages"]]
    assert asked == ["First", "The first", "The second, in better words"]
    assert messages(page) == messages(tab)
    assert_a_fresh_load_is_the_same(page)
