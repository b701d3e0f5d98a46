"""Reading a reply: as Markdown, while it is thought about, while it grows, and what it came to."""

import re

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.script import Drop, Reasoning, event, usage_of
from tests.waiting import until

REPLY = "[data-role=assistant]:last-child"
COMPLETE = f"{REPLY}[data-status=complete]"
LINES = "".join(f"Line {number}\n\n" for number in range(80))


def live(page: Page, path: str = "/") -> None:
    page.goto(path)
    page.locator("body[data-connection=live]").wait_for()


def ask(page: Page, words: str = "Tell me") -> None:
    page.locator("#composer textarea").fill(words)
    page.locator("#composer textarea").press("Enter")


def body(page: Page) -> Locator:
    return page.locator(f"{REPLY} [data-part=body]")


def answered(gateway, owner, page: Page, *steps: object, **more: object) -> str:
    """A page of one question and its whole answer; the conversation."""
    gateway.reply(*steps, **more)
    conversation = owner.send("Tell me")
    owner.wait_for_reply(conversation, "complete")
    live(page, f"/c/{conversation}/")
    return conversation


def from_end(page: Page) -> float:
    distance = "e => e.scrollHeight - e.clientHeight - e.scrollTop"
    return float(page.locator("#scroll").evaluate(distance))


def messages(page: Page) -> str:
    return str(page.locator("#messages").evaluate("e => e.outerHTML"))


# --- 1: Markdown ---

# Puts the words of what stands in a block there one by one: those that moved to another line meanwhile.
MOVED = """block => {
  const text = block.firstChild
  const words = text.data.split(" ")
  const places = []
  const moved = []
  words.forEach((_, count) => {
    text.data = words.slice(0, count + 1).join(" ")
    let at = 0
    for (const [number, word] of words.slice(0, count + 1).entries()) {
      const range = document.createRange()
      range.setStart(text, at)
      range.setEnd(text, at + word.length)
      const { top, left } = range.getBoundingClientRect()
      const place = `${top} ${left}`
      if (number < count && places[number] !== place) moved.push(word)
      places[number] = place
      at += word.length + 1
    }
  })
  return [words.length, new Set(places.map((place) => place.split(" ")[0])).size, moved]
}"""


@pytest.mark.parametrize("mark", ["", "## "], ids=["a paragraph", "a heading"])
def test_5_1_words_that_stand_do_not_move_when_others_come(gateway, owner, page, mark):
    text = " ".join(f"word{number}" for number in range(60))
    answered(gateway, owner, page, mark + text)
    block = body(page).locator(".block > *").first
    words, lines, moved = block.evaluate(MOVED)
    assert (words, moved) == (60, [])
    assert lines > 3


GFM = """- [x] done
- [ ] to do

~~struck~~ https://example.org/auto and <https://example.org/angled>

A note[^1] stays as it was written.

[^1]: the note

<script>alert(1)</script><img src=x onerror=alert(1)><b>not bold</b>

[a link](javascript:alert(1)) &amp; &lt;i&gt; \\*plain\\*

| a | b |
|---|---|
| 1 | <u>2</u> |
"""


def test_5_1_gfm_is_rendered_and_raw_html_is_text(gateway, owner, page):
    answered(gateway, owner, page, GFM)
    text = body(page)
    expect(text.locator("input[type=checkbox]")).to_have_count(2)
    expect(text.locator("input:checked")).to_have_count(1)
    expect(text.locator("del")).to_have_text("struck")
    expect(text.locator("a[href^='https://example.org/']")).to_have_count(2)
    expect(text.locator("td")).to_have_text(["1", "<u>2</u>"])
    for raw in (
        "[^1]",
        "[^1]: the note",
        "<script>alert(1)</script>",
        "<b>not bold</b>",
        "*plain*",
    ):
        expect(text).to_contain_text(raw)
    expect(text.locator("script, img, b, u, i, sup, section, a[href^=javascript]")).to_have_count(0)


GROWING = [
    "A **bold and *both* word**, `code span`, ~~struck out~~ and [a link](https://example.org/a_b).",
    "# A heading with `code`\n\n- item **one**\n- item [two](https://example.org)\n  1. nested",
    "| Name | Value |\n|------|------:|\n| **a** | `b` |\n| c | [d](https://example.org) |\n",
    "Before\n\n```python\nprint('x')\n```\n\nafter\n",
    "Area $\\pi r^2$ and\n\n$$\n\\frac{a}{b}\n$$\n\nis it.\n",
    "> quoted **text**\n> goes on\n\n---\n\n![picture](https://example.org/p.png)\n",
]
RAW = re.compile(r"\*\*|~~|`|\]\(|\||\$\$|\\frac|^#|^[-=]{2,}$|^> |!\[|^[-*] ", re.M)


@pytest.mark.parametrize("text", GROWING, ids=lambda text: text[:12])
def test_5_1_nothing_unclosed_is_ever_seen_as_raw_markup(gateway, page, text):
    """A few characters at a time; what stands on the page is noted at each change."""
    assert RAW.search(text)
    page.add_init_script(
        """addEventListener("DOMContentLoaded", () => {
            const shown = (window.shown = new Set())
            new MutationObserver(() => {
                for (const part of document.querySelectorAll(".prose")) {
                    const copy = part.cloneNode(true)
                    const ours = "button, math, .code-head, code.math, .link-host"
                    copy.querySelectorAll(ours).forEach((each) => each.remove())
                    shown.add(copy.innerText)
                }
            }).observe(document.getElementById("messages"), { childList: true, subtree: true })
        })"""
    )
    pieces = [text[at : at + 2] for at in range(0, len(text), 2)]
    gates = [gateway.gate() for _ in pieces]
    gateway.reply(*(step for each in zip(pieces, gates, strict=True) for step in each))
    live(page)
    ask(page)
    for gate in gates:
        gate.wait_reached()
        # Two frames of the screen: the server shows what came within one together.
        page.evaluate("new Promise(r => requestAnimationFrame(() => requestAnimationFrame(r)))")
        gate.open()
    page.locator(COMPLETE).wait_for()
    shown = page.evaluate("[...window.shown]")
    assert len(shown) > len(pieces) / 6
    assert [each for each in shown if RAW.search(each)] == []


CUT = "So **far and *no further"


@pytest.mark.parametrize("ending", ["stopped", "interrupted", "complete"])
def test_5_1_what_is_open_where_a_reply_is_cut_is_closed_for_good(gateway, page, ending):
    gate = gateway.gate()
    end = {"stopped": [gate], "interrupted": [Drop()], "complete": []}[ending]
    gateway.reply(Reasoning("Hm"), CUT[:4], CUT[4:], *end, finish="length")
    live(page)
    ask(page)
    if ending == "stopped":
        expect(body(page)).to_contain_text("no further")
        page.locator(f"{REPLY} [name=stop]").click()
    page.locator(f"{REPLY}[data-status={ending}]").wait_for()
    assert body(page).inner_text() == "So far and no further"
    expect(body(page).locator("strong em")).to_have_text("no further")
    lived = messages(page)
    page.reload()
    page.locator(f"{REPLY}[data-status={ending}]").wait_for()
    assert messages(page) == lived


def test_5_1_blocks_that_are_finished_are_not_touched(gateway, page):
    first, second = gateway.gate(), gateway.gate()
    gateway.reply("One *paragraph*.\n\nTwo", first, " goes on.\n\n[late]: https://x.org\n", second)
    live(page)
    ask(page)
    block = page.locator(f"{REPLY} .block")
    expect(block).to_have_count(2)
    block.first.evaluate("e => { e.isTheSame = true }")
    first.open()
    second.wait_reached()
    expect(body(page)).to_contain_text("goes on.")
    second.open()
    page.locator(COMPLETE).wait_for()
    assert block.first.evaluate("e => e.isTheSame")


@pytest.mark.parametrize("is_changed", [False, True])
def test_5_1_words_go_behind_the_last_one_and_a_page_that_shows_another_has_all_anew(
    gateway, page, is_changed
):
    gate = gateway.gate()
    gateway.reply("Some **bold** words 🙂 here", gate, " and", " then", " more.")
    live(page)
    ask(page)
    block = body(page).locator(".block")
    expect(block).to_have_text("Some bold words 🙂 here")
    was_there = page.evaluate_handle(
        "document.querySelector('[data-part=body] .block p').lastChild"
    )
    if is_changed:
        was_there.evaluate("text => { text.data = ' other text ' }")
    gate.open()
    page.locator(COMPLETE).wait_for()
    expect(block).to_have_text("Some bold words 🙂 here and then more.")
    assert was_there.evaluate("text => text.isConnected") is not is_changed


# --- 3: reasoning ---


def test_5_3_before_the_first_token_the_seconds_are_counted_and_stop_works(gateway, page):
    gate = gateway.gate()
    gateway.reply(gate, "Late.")
    live(page)
    ask(page)
    waiting = page.locator(f"{REPLY} [data-part=waiting]")
    expect(waiting).to_contain_text("Thinking")
    shadow = "e => e.shadowRoot.textContent"
    until(lambda: waiting.locator("elapsed-time").evaluate(shadow) in ("2s", "3s"), "2 s are told")
    page.locator(f"{REPLY} [name=stop]").click()
    page.locator(f"{REPLY}[data-status=stopped]").wait_for()
    gate.open()


def test_5_3_reasoning_is_folded_and_timed_while_it_lasts_and_after(gateway, page):
    thinking, answering = gateway.gate(), gateway.gate()
    gateway.reply(Reasoning("Let me *see*."), thinking, "The answer", answering, " is 4.")
    live(page)
    ask(page)
    summary = page.locator(f"{REPLY} summary")
    expect(summary.locator(".thinking")).to_be_visible()
    expect(page.locator(f"{REPLY} .waiting")).to_be_hidden()
    expect(page.get_by_text("Let me see.")).to_be_hidden()
    time = summary.locator("elapsed-time")
    until(lambda: time.evaluate("e => e.shadowRoot.textContent") == "2s", "2 s are told")
    thinking.open()
    expect(body(page)).to_contain_text("The answer")
    expect(summary.locator(".thinking")).to_be_hidden()
    expect(summary.locator(".thought")).to_be_visible()
    told = time.evaluate("e => e.shadowRoot.textContent")
    answering.open()
    page.locator(COMPLETE).wait_for()
    expect(summary.locator(".took")).to_have_text(re.compile(r"^[23]s$"))
    assert told in ("2s", "3s")
    summary.click()
    expect(page.get_by_text("Let me see.")).to_be_visible()
    summary.click()
    page.locator(f"{REPLY} details:not([open])").wait_for()
    lived = messages(page)
    page.reload()
    assert messages(page) == lived


@pytest.mark.parametrize("is_open", [False, True])
def test_5_3_nothing_jumps_when_the_answer_starts(gateway, page, is_open):
    thinking, answering = gateway.gate(), gateway.gate()
    gateway.reply(Reasoning("Let me *see*.\n\nOr not."), thinking, "The answer", answering, ".")
    live(page)
    ask(page)
    summary, reply = page.locator(f"{REPLY} summary"), page.locator(REPLY)
    expect(page.locator(f"{REPLY} [data-part=reasoning] .block")).to_have_count(2)
    if is_open:
        summary.click()
    before, height = summary.bounding_box(), reply.bounding_box()["height"]
    thinking.open()
    expect(body(page)).to_contain_text("The answer")
    assert summary.bounding_box()["y"] == before["y"]
    assert reply.bounding_box()["height"] >= height
    answering.open()
    page.locator(COMPLETE).wait_for()
    assert summary.bounding_box()["y"] == before["y"]


def test_5_3_the_first_words_stand_where_the_waiting_line_stood(gateway, page):
    waiting, answering = gateway.gate(), gateway.gate()
    gateway.reply(waiting, "The answer", answering, ".")
    live(page)
    ask(page)
    waiting.wait_reached()
    page.locator(f"{REPLY}[data-status=streaming]").wait_for()
    line = until(page.locator(f"{REPLY} .waiting").bounding_box, "it is seen waiting")
    reply = page.locator(REPLY)
    height = reply.bounding_box()["height"]
    waiting.open()
    expect(body(page)).to_contain_text("The answer")
    words = page.locator(f"{REPLY} .block p").bounding_box()
    assert (words["y"], words["height"]) == (line["y"], line["height"])
    assert reply.bounding_box()["height"] >= height
    answering.open()
    page.locator(COMPLETE).wait_for()


# --- 4: scrolling ---


def leave_by_wheel(page: Page) -> None:
    page.mouse.move(600, 300)
    page.mouse.wheel(0, -200)


def leave_by_key(page: Page) -> None:
    page.locator("#scroll").focus()
    page.keyboard.press("PageUp")


def leave_by_selecting(page: Page) -> None:
    page.get_by_text("Line 79", exact=True).dblclick()


@pytest.mark.parametrize("leave", [leave_by_wheel, leave_by_key, leave_by_selecting])
def test_5_4_a_reader_who_leaves_the_end_is_not_moved_by_growth_nor_by_the_end(
    gateway, page, leave
):
    first, second = gateway.gate(), gateway.gate()
    gateway.reply(LINES, first, LINES, second, "The end.")
    live(page)
    ask(page)
    expect(page.locator(f"{REPLY} .block")).to_have_count(80)
    until(lambda: from_end(page) < 2, "the end is followed")
    leave(page)
    place = page.get_by_text("Line 70", exact=True).first
    # A wheel and a key scroll for a while.
    seen: list[float] = []

    def is_still() -> bool:
        seen.append(place.bounding_box()["y"])
        return len(seen) > 3 and seen[-1] == seen[-2] == seen[-3]

    until(is_still, "scrolling has come to rest")
    first.open()
    second.wait_reached()
    expect(page.locator(f"{REPLY} .block")).to_have_count(160)
    assert place.bounding_box()["y"] == seen[-1]
    second.open()
    page.locator(COMPLETE).wait_for()
    assert place.bounding_box()["y"] == seen[-1]
    page.locator("#latest").click()
    until(lambda: from_end(page) < 2, "the button leads to the end")


@pytest.mark.parametrize(
    ("steps", "word"),
    [
        (["A paragraph to be marked that", " goes *on* and", " on."], "marked"),
        (["- one\n- two is marked here", " and *there*", "\n- three"], "marked"),
        (["```py\nmarked = 1\nother", " = 2\n", "```\n\nEnd."], "marked"),
        (["| a | b |\n|-|-|\n| marked | 1", " |\n| 2 | 3", " |\n\nEnd."], "marked"),
    ],
    ids=["paragraph", "list", "code", "table"],
)
def test_5_4_what_is_selected_survives_what_arrives(gateway, page, steps, word):
    gates = [gateway.gate(), gateway.gate()]
    gateway.reply(steps[0], gates[0], steps[1], gates[1], steps[2])
    live(page)
    ask(page)
    expect(body(page)).to_contain_text(word)
    until(lambda: from_end(page) < 2, "the page has come to rest")
    body(page).get_by_text(word).last.evaluate(
        """(element, word) => {
            const texts = document.createTreeWalker(element, NodeFilter.SHOW_TEXT)
            while (texts.nextNode() && !texts.currentNode.data.includes(word));
            const at = texts.currentNode.data.indexOf(word)
            getSelection().setBaseAndExtent(texts.currentNode, at, texts.currentNode, at + word.length)
        }""",
        word,
    )
    for gate in gates:
        gate.open()
        assert page.evaluate("getSelection().toString()") == word
    page.locator(COMPLETE).wait_for()
    assert page.evaluate("getSelection().toString()") == word


def test_5_4_nothing_moves_by_itself_for_who_wants_no_motion(gateway, owner, open_page):
    page = open_page(owner, reduced_motion="reduce")
    gate = gateway.gate()
    gateway.reply("So far", gate)
    live(page)
    ask(page)
    expect(body(page)).to_contain_text("So far")
    running = "document.getAnimations().filter(a => a.playState === 'running').length"
    assert page.evaluate(running) == 0
    gate.open()
    page.locator(COMPLETE).wait_for()


# --- 5: figures ---


def test_5_5_the_footer_says_what_a_reply_took_on_hover_and_on_focus(gateway, owner, page):
    gateway.reply("First.", usage=usage_of(1200, 5) | {"cost_rub": 0.42})
    conversation = owner.send("Tell me")
    owner.wait_for_reply(conversation, "complete")
    gateway.reply("Second.")
    owner.send("More", conversation)
    owner.wait_for_reply(conversation, "complete")
    live(page, f"/c/{conversation}/")
    reply = page.locator("[data-role=assistant]").first
    usage = reply.locator("[data-part=usage]")
    expect(usage).to_have_css("opacity", "0")
    reply.hover()
    expect(usage).to_have_css("opacity", "1")
    page.mouse.move(0, 0)
    expect(usage).to_have_css("opacity", "0")
    reply.locator("[name=copy]").focus()
    expect(usage).to_have_css("opacity", "1")
    for words in ("1,200 tokens in, 5 out", "0.42", "first token after", "finished by itself"):
        expect(usage).to_contain_text(words)


@pytest.mark.parametrize(
    ("steps", "status", "words"),
    [
        (["Some", Drop()], "interrupted", "interrupted"),
        (["Some", event({"error": {"message": "no", "code": 500}})], "failed", "failed"),
    ],
)
def test_5_5_the_footer_says_why_a_reply_ended(gateway, owner, page, steps, status, words):
    gateway.reply(*steps)
    conversation = owner.send("Tell me")
    owner.wait_for_reply(conversation, status)
    live(page, f"/c/{conversation}/")
    expect(page.locator(f"{REPLY} [data-part=usage]")).to_contain_text(words)


def test_5_5_seconds_and_tokens_are_counted_while_it_streams(gateway, page):
    begun, first, second = gateway.gate(), gateway.gate(), gateway.gate()
    gateway.reply(begun, "word " * 50, first, "слово " * 50, second)
    live(page)
    ask(page)
    figures = page.locator(f"{REPLY} .live")
    shadow = "e => e.shadowRoot.textContent"
    tokens, time = figures.locator("token-count"), figures.locator("elapsed-time")
    assert tokens.evaluate(shadow) == ""  # none is not worth a word
    begun.open()
    expect(body(page)).to_contain_text("word")
    until(lambda: tokens.evaluate(shadow) == "≈ 50 tokens", "50 tokens are told")
    until(lambda: re.fullmatch("[1-9]s", time.evaluate(shadow)), "seconds are told")
    first.open()
    until(lambda: tokens.evaluate(shadow) == "≈ 125 tokens", "125 tokens are told")
    second.open()
    page.locator(COMPLETE).wait_for()
    expect(figures).to_have_count(0)


def test_5_5_the_header_says_what_the_conversation_took_in_all_tabs(gateway, owner, open_page):
    gateway.reply("First.", usage=usage_of(1000, 200) | {"cost_rub": 0.5})
    page = open_page(owner)
    live(page)
    total = page.locator("#total")
    expect(total).to_be_hidden()
    ask(page)
    expect(total).to_contain_text("1,200 tokens")
    expect(total).to_contain_text("0.50")
    second = page.context.new_page()
    live(second, page.url)
    # Of another currency: beside the first, never added to it. And the first reply is thrown away.
    gateway.reply("Second.", usage=usage_of(30, 4) | {"cost_in_usd_ticks": 20_000_000_000})
    page.locator(f"{REPLY} [name=regenerate]").click()
    for tab in (page, second):
        expect(tab.locator("#total")).to_contain_text("1,234 tokens")
        expect(tab.locator("#total")).to_contain_text("RUB 0.50")
        expect(tab.locator("#total")).to_contain_text("$2.00")
    told = total.inner_text()
    page.reload()
    assert total.inner_text() == told


@pytest.mark.parametrize("locale", ["ru"])
def test_5_5_figures_are_written_as_the_readers_language_writes_them(gateway, owner, page):
    answered(gateway, owner, page, "Да.", usage=usage_of(1232, 2) | {"cost_rub": 1234.56})
    expect(page.locator("#total")).to_contain_text("1\u00a0234 токена")
    expect(page.locator("#total")).to_contain_text("1\u00a0234,56\u00a0₽")
