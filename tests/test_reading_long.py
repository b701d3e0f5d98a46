"""Reading a conversation that is longer than a page holds."""

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.waiting import until

TURNS = 100  # beside the first
HELD = 20


@pytest.fixture(scope="module")
def long(shared_server, shared_owner) -> str:
    """A conversation that nobody changes."""
    return make_long(shared_owner)


@pytest.fixture
def own_long(owner) -> str:
    """The same, for a test that changes it."""
    return make_long(owner)


def make_long(owner) -> str:
    conversation = owner.send("The first question")
    owner.wait_for_reply(conversation, "complete")
    owner.server.grow(conversation, TURNS)
    return conversation


def live(page: Page, path: str) -> None:
    page.goto(path)
    page.locator("body[data-connection=live]").wait_for()


def scroll(page: Page) -> Locator:
    return page.locator("#scroll")


def question(page: Page, n: int) -> Locator:
    return page.get_by_text(f"Question {n}", exact=True)


def articles(page: Page) -> list[str]:
    return page.locator("#messages > article").evaluate_all("all => all.map(a => a.id)")


def wheel_up(page: Page, to: Locator) -> None:
    """Turn the wheel until it is there."""
    page.mouse.move(600, 300)

    def is_there() -> bool:
        page.mouse.wheel(0, -1500)
        return to.count() == 1

    until(is_there, "the wheel brings it")


def message_of(owner, conversation: str, text: str) -> str:
    found = owner.export(conversation)["messages"]
    return next(each["id"] for each in found if each["text"] == text)


@pytest.mark.usefixtures("gateway", "server")
def test_5_6_a_long_conversation_opens_at_its_end_with_the_newest(page, long):
    live(page, f"/c/{long}/")
    expect(question(page, TURNS)).to_be_in_viewport()
    expect(page.locator("#latest")).to_be_hidden()
    assert len(articles(page)) < TURNS
    expect(page.locator("#earlier a")).to_have_count(1)


@pytest.mark.usefixtures("gateway", "server")
def test_5_6_scrolling_up_loads_what_is_older_and_moves_nothing(page, long):
    live(page, f"/c/{long}/")
    page.locator("#composer textarea").fill("focus stays")
    before = articles(page)
    marker = page.locator(f"#{before[0]}")
    # Where a message stands in the window, each time that others are put above it.
    page.evaluate(
        """() => {
            const messages = document.getElementById("messages")
            const seen = (window.moved = [])
            document.addEventListener("htmx:beforeSwap", () => {
                const first = messages.firstElementChild
                const top = first.getBoundingClientRect().top
                document.addEventListener("htmx:afterSwap", () => {
                    seen.push(Math.abs(first.getBoundingClientRect().top - top))
                }, { once: true })
            })
        }"""
    )
    wheel_up(page, page.get_by_text("The first question", exact=True).and_(page.locator(".words")))
    moved = page.evaluate("window.moved")
    assert len(moved) >= 4
    assert max(moved) < 2
    expect(marker).to_have_count(1)
    expect(page.locator("#earlier a")).to_have_count(0)
    assert len(articles(page)) == len(set(articles(page))) == 2 * TURNS + 2
    texts = page.locator(".words").all_inner_texts()
    assert texts == ["The first question", *(f"Question {n}" for n in range(1, TURNS + 1))]


def test_5_6_an_edge_that_htmx_has_not_come_to_yet_leads_nowhere(page, long):
    """As when other news of the page is settled before older messages are."""
    live(page, f"/c/{long}/")
    held = len(articles(page))
    page.evaluate(
        """async () => {
            window.stays = true
            const link = document.querySelector("#earlier a")
            link.replaceWith(link.cloneNode(true))
            document.getElementById("scroll").scrollTop = 0
            document.dispatchEvent(new CustomEvent("htmx:load", { detail: { elt: document.body } }))
            for (let n = 0; n < 3; n++) await new Promise(requestAnimationFrame)
        }"""
    )
    assert len(articles(page)) == held
    page.evaluate("htmx.process(document.getElementById('earlier'))")
    page.evaluate("document.dispatchEvent(new CustomEvent('htmx:load', { bubbles: true }))")
    expect(page.locator("#messages > article")).not_to_have_count(held)
    assert page.evaluate("window.stays")


@pytest.mark.usefixtures("gateway", "server")
def test_5_6_what_was_loaded_in_parts_is_what_a_whole_page_shows(page, owner, own_long):
    """The same templates made it, and nothing stands between the parts."""
    live(page, f"/c/{own_long}/")
    wheel_up(page, question(page, 40))
    held = articles(page)
    at = held[10].removeprefix("m-")
    lived = {
        each: page.locator(f"#{each}").evaluate("e => e.outerHTML") for each in held[6 : 6 + HELD]
    }
    nodes = page.locator("#messages").evaluate("e => e.childNodes.length - e.children.length")
    assert nodes == 0
    live(page, f"/c/{own_long}/?at={at}")
    fresh = {each: page.locator(f"#{each}").evaluate("e => e.outerHTML") for each in lived}
    assert fresh == lived


@pytest.mark.usefixtures("gateway", "server")
def test_5_6_without_javascript_a_link_leads_to_what_is_older(owner, open_page, long):
    page = open_page(owner, java_script_enabled=False)
    page.goto(f"/c/{long}/")
    expect(page.locator("article")).to_have_count(HELD)
    page.locator("#earlier a").click()
    expect(page.locator("article")).to_have_count(HELD)
    expect(question(page, TURNS - HELD // 2)).to_be_in_viewport()
    page.locator("#later a").click()
    expect(question(page, TURNS)).to_be_visible()
    expect(page.locator("#later a")).to_have_count(0)


@pytest.mark.usefixtures("gateway", "server")
def test_5_6_a_link_to_a_message_far_up_shows_it(page, owner, long):
    wanted = message_of(owner, long, "Question 20")
    page.goto(f"/c/{long}/#m-{wanted}")
    expect(question(page, 20)).to_be_in_viewport()
    expect(page.locator("#latest")).to_be_visible()
    # And from there the other way, to the end.
    page.locator("#latest").click()
    expect(question(page, TURNS)).to_be_in_viewport()


@pytest.mark.usefixtures("gateway", "server")
def test_5_6_scrolling_down_from_the_middle_reaches_the_end(page, owner, long):
    wanted = message_of(owner, long, "Question 60")
    live(page, f"/c/{long}/?at={wanted}#m-{wanted}")
    expect(question(page, 60)).to_be_in_viewport()
    assert len(articles(page)) < 2 * TURNS
    page.mouse.move(600, 300)

    def is_at_end() -> bool:
        page.mouse.wheel(0, 1500)
        return page.locator("#later a").count() == 0

    until(is_at_end, "everything after it is loaded")
    assert articles(page) == sorted(set(articles(page)), key=articles(page).index)
    expect(question(page, TURNS)).to_have_count(1)


def test_5_6_a_reply_in_a_long_conversation_arrives_and_the_end_is_followed(
    gateway, owner, page, own_long
):
    live(page, f"/c/{own_long}/")
    gate = gateway.gate()
    gateway.reply("Growing ", gate, "to the *end*.")
    page.locator("#composer textarea").fill("One more")
    page.locator("#composer textarea").press("Enter")
    reply = page.locator("article:last-child")
    expect(reply).to_contain_text("Growing")
    gate.open()
    expect(reply).to_have_attribute("data-status", "complete")
    expect(reply.locator("em")).to_be_in_viewport()
    lived = reply.evaluate("e => e.outerHTML")
    page.reload()
    assert page.locator("article:last-child").evaluate("e => e.outerHTML") == lived


def test_5_6_who_reads_far_up_keeps_it_until_back_at_the_end(gateway, owner, page, own_long):
    live(page, f"/c/{own_long}/")
    wheel_up(page, question(page, 80))
    held = articles(page)
    gateway.reply("Over there.")
    owner.send("From elsewhere", own_long)
    expect(page.locator("article:last-child")).to_contain_text("Over there.")
    assert set(held) < set(articles(page))
    page.locator("#latest").click()
    expect(page.locator("article")).to_have_count(HELD)
    expect(page.locator("article:last-child")).to_be_in_viewport()


def test_5_6_what_is_sent_from_the_middle_is_seen_at_the_end(gateway, owner, page, own_long):
    wanted = message_of(owner, own_long, "Question 20")
    gateway.reply("Here.")
    live(page, f"/c/{own_long}/?at={wanted}#m-{wanted}")
    page.locator("#composer textarea").fill("From the middle")
    page.locator("#composer textarea").press("Enter")
    expect(page.locator("article:last-child")).to_contain_text("Here.")
    expect(page.get_by_text("From the middle", exact=True).last).to_be_in_viewport()
    expect(page.locator("#composer textarea")).to_have_value("")


def test_5_6_another_version_far_up_is_shown_where_the_reader_is(gateway, owner, page, own_long):
    wanted = message_of(owner, own_long, "Question 40")
    owner.post(f"/m/{wanted}/edit/", {"text": "Question forty"})
    owner.wait_for_reply(own_long, "complete")
    live(page, f"/c/{own_long}/")
    asked = page.get_by_text("Question forty", exact=True)
    expect(asked).to_be_in_viewport()
    version = page.locator("article", has=asked).locator("[name=branch-prev]")
    version.focus()
    version.click()
    expect(question(page, 40)).to_be_in_viewport()
    expect(question(page, 41)).to_have_count(1)
    # What follows there now comes as one reads on, and what changes is still heard of.
    expect(page.locator("#later a")).to_have_count(0)
    expect(question(page, TURNS)).to_have_count(1)


def test_5_6_a_page_in_the_middle_hears_of_what_it_holds_alone(gateway, owner, page, own_long):
    gateway.reply("At the end.")
    top, far = (message_of(owner, own_long, f"Question {n}") for n in (15, 60))
    live(page, f"/c/{own_long}/?at={top}#m-{top}")
    held = articles(page)
    assert f"m-{far}" not in held
    owner.send("Somewhere else", own_long)
    owner.wait_for_reply(own_long, "complete")
    # Heard, and not for this page; then a deletion far below it that changes the branch.
    before = page.locator("#state").get_attribute("data-version")
    owner.post(f"/m/{far}/delete/")
    until(
        lambda: page.locator("#state").get_attribute("data-version") != before,
        "the page hears of the deletion",
    )
    assert set(held) <= set(articles(page))
    assert f"m-{far}" not in articles(page)
    expect(
        page.get_by_text("Somewhere else", exact=True).and_(page.locator(".words"))
    ).to_have_count(0)
    expect(question(page, 15)).to_be_in_viewport()
