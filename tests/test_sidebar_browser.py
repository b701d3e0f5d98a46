"""Issue 5, line 11: the sidebar in a browser, in all tabs, by keyboard and without JavaScript."""

import re
from datetime import UTC, datetime
from itertools import count
from typing import NamedTuple

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.server import Client
from tests.waiting import until

MANY = """
from datetime import timedelta
from django.utils import timezone
from chat.models import Conversation, User
owner, now = User.objects.get(username="many"), timezone.now()
Conversation.objects.bulk_create([
    Conversation(owner=owner, title=f"Number {n}", active_at=now - timedelta(minutes=n))
    for n in range(10_000)
])
"""


def live(page: Page, path: str = "/") -> None:
    page.goto(path)
    page.locator("body[data-connection=live]").wait_for()


def line(page: Page, title: str) -> Locator:
    link = page.get_by_role("link", name=title, exact=True)
    return page.locator("#listed > [data-version]").filter(has=link)


def command(page: Page, title: str, name: str) -> None:
    """Open the menu of a line and choose from it."""
    line(page, title).hover()
    line(page, title).locator("[popovertarget]").click()
    page.locator(f"#conversation-menu [name={name}]").locator("visible=true").click()


def order(page: Page) -> list[str]:
    return page.locator("#listed > [data-version] > a").all_inner_texts()


class Answered(NamedTuple):
    conversation: str
    title: str


numbers = count(1)


@pytest.fixture
def answered(gateway, owner) -> Answered:
    """A conversation with a title of its own, answered and read."""
    title = f"Say hello {next(numbers)} times"
    gateway.reply("Hello.")
    conversation = owner.send(title)
    owner.wait_for_reply(conversation, "complete")
    owner.get(f"/c/{conversation}/")
    return Answered(conversation, title)


def test_5_11_a_running_reply_and_then_an_unread_one_show_in_all_tabs(gateway, owner, open_page):
    first, second = (open_page(owner) for _ in range(2))
    live(first)
    live(second)
    gate = gateway.gate()
    gateway.reply("One ", gate, "two")
    conversation = owner.send("Count to two")
    for page in (first, second):
        expect(page.locator(f"#c-{conversation} .running")).to_be_visible()
    gate.open()
    for page in (first, second):
        expect(page.locator(f"#c-{conversation} .unread")).to_be_visible()
        expect(page.locator(f"#c-{conversation} .running")).to_have_count(0)
    first.locator(f"#c-{conversation} > a").click()
    for page in (first, second):
        expect(page.locator(f"#c-{conversation}")).to_be_visible()
        expect(page.locator(f"#c-{conversation} .unread")).to_have_count(0)


def test_5_11_what_ends_before_the_readers_eyes_is_read(gateway, owner, page, open_page):
    gate = gateway.gate()
    gateway.reply("One ", gate, "two")
    conversation = owner.send("Count to two")
    live(page, f"/c/{conversation}/")
    elsewhere = open_page(owner)
    live(elsewhere)
    expect(elsewhere.locator(f"#c-{conversation} .running")).to_be_visible()
    gate.open()
    expect(page.locator(f"#c-{conversation} .running")).to_have_count(0)
    expect(elsewhere.locator(f"#c-{conversation} :is(.unread, .running)")).to_have_count(0)
    page.reload()
    expect(page.locator(f"#c-{conversation}[data-unread]")).to_have_count(0)


@pytest.mark.parametrize("failing", ["no network", "a refusal"])
def test_5_11_what_could_not_be_said_to_be_read_is_said_again(
    gateway, owner, page, complaints, failing
):
    complaints[0].allow(r"^htmx:|ERR_FAILED|\b503\b|^Failed to load")
    gate = gateway.gate()
    gateway.reply("One ", gate, "two")
    conversation = owner.send("Count to two")
    live(page, f"/c/{conversation}/")

    def fail(route):
        route.abort() if failing == "no network" else route.fulfill(status=503)

    page.route("**/read/", fail)
    end = "requestfinished" if failing == "a refusal" else "requestfailed"
    with page.expect_event(end, lambda request: request.url.endswith("/read/")):
        gate.open()
    expect(page.locator(f"#c-{conversation}[data-unread]")).to_have_count(1)
    # Nobody had asked for it.
    expect(page.get_by_role("alert")).to_have_count(0)
    page.unroute("**/read/")
    page.evaluate("document.activeElement.blur()")
    page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    expect(page.locator(f"#c-{conversation}[data-unread]")).to_have_count(0)
    expect(page.locator("body")).to_be_focused()


def test_5_11_a_title_is_written_in_its_place(answered, page, owner, open_page):
    live(page, f"/c/{answered.conversation}/")
    other = open_page(owner)
    live(other)
    command(page, answered.title, "rename")
    field = page.locator("#listed input")
    expect(field).to_be_focused()
    expect(field).to_have_value(answered.title)
    field.fill("Thrown away")
    field.press("Escape")
    expect(field).to_have_count(0)
    expect(line(page, answered.title).locator("a")).to_be_focused()
    page.keyboard.press("F2")
    field.fill("Greetings")
    field.press("Enter")
    expect(line(page, "Greetings").locator("a")).to_be_focused()
    expect(page.locator("#title")).to_have_text("Greetings")
    expect(line(other, "Greetings")).to_be_visible()
    assert owner.export(answered.conversation)["title"] == "Greetings"


def test_5_11_news_neither_reorder_the_list_nor_take_the_focus_nor_a_half_written_title(
    gateway, answered, page, owner
):
    gateway.reply("Yes.")
    newer = owner.send("Something newer")
    owner.wait_for_reply(newer, "complete")
    live(page)
    before = order(page)
    page.locator(f"#c-{answered.conversation} > a").focus()
    owner.post(f"/c/{answered.conversation}/rename/", {"title": "Renamed elsewhere"})
    expect(line(page, "Renamed elsewhere")).to_be_visible()
    expect(page.locator(f"#c-{answered.conversation} > a")).to_be_focused()
    assert order(page) == ["Renamed elsewhere" if t == answered.title else t for t in before]
    page.keyboard.press("F2")
    field = page.locator("#listed input")
    field.fill("Half a ti")
    owner.post(f"/c/{answered.conversation}/rename/", {"title": "Renamed again"})
    owner.post(f"/c/{newer}/rename/", {"title": "Seen by then"})
    expect(line(page, "Seen by then")).to_be_visible()
    expect(field).to_have_value("Half a ti")
    expect(field).to_be_focused()
    field.press("Escape")
    expect(page.locator(f"#c-{answered.conversation} > a")).to_have_text("Renamed again")


def test_5_11_a_pinned_conversation_stands_first_in_all_tabs(gateway, answered, owner, open_page):
    gateway.reply("Yes.")
    owner.wait_for_reply(owner.send("Something newer"), "complete")
    first, second = (open_page(owner) for _ in range(2))
    live(first)
    live(second)
    assert order(first)[0] != answered.title
    command(first, answered.title, "pinned")
    for page in (first, second):
        until(lambda page=page: order(page)[0] == answered.title, "it stands first")
        expect(page.locator("#listed .day:visible").first).to_have_text("Pinned")
    command(second, answered.title, "pinned")
    for page in (first, second):
        until(lambda page=page: order(page)[0] != answered.title, "it is back in its day")
        expect(page.get_by_role("heading", name="Pinned")).to_have_count(0)
    fresh = open_page(owner)
    live(fresh)
    assert order(fresh) == order(first) == order(second)


def test_5_11_a_deletion_is_undone_in_all_tabs(answered, owner, open_page):
    first, second = (open_page(owner) for _ in range(2))
    live(first)
    live(second)
    before = order(first)
    command(first, answered.title, "delete-conversation")
    for page in (first, second):
        expect(page.locator(f"#c-{answered.conversation}")).to_have_count(0)
    expect(
        first.get_by_role("status").filter(has_text=f"Deleted: {answered.title}")
    ).to_be_visible()
    assert owner.get(f"/c/{answered.conversation}/").status_code == 404
    # The focus is where the next word is said.
    expect(first.get_by_role("button", name="Undo")).to_be_focused()
    first.keyboard.press("Enter")
    for page in (first, second):
        expect(page.locator(f"#c-{answered.conversation}")).to_be_visible()
    assert order(first) == order(second) == before
    expect(first.get_by_role("button", name="Undo")).to_have_count(0)


def test_5_11_the_open_conversation_is_deleted_while_it_streams_and_comes_back(
    gateway, owner, page
):
    gate = gateway.gate()
    gateway.reply("One ", gate, "two")
    conversation = owner.send("Count to two")
    gate.wait_reached()
    owner.wait_for_text(conversation, "One ")
    live(page, f"/c/{conversation}/")
    page.locator("#conversation-menu-button").click()
    page.locator("[name=delete-conversation]").click()
    page.wait_for_url(re.compile(r"/\?undo="))
    gateway.calls[-1].wait_closed()
    gate.open()
    page.get_by_role("button", name="Undo").click()
    page.wait_for_url(f"**/c/{conversation}/")
    expect(page.locator("[data-role=assistant][data-status=stopped]")).to_be_visible()
    expect(page.locator("[data-part=body]").last).to_have_text("One")


# --- ten thousand ---


@pytest.fixture(scope="module")
def many(shared_server, shared_owner) -> Client:
    client = shared_server.add_user("many")
    shared_server.manage("shell", "-v0", "-c", MANY)
    return client


def test_5_11_scrolling_brings_the_older_ones(server, many, open_page):
    page = open_page(many)
    live(page)
    lines = page.locator("#listed > [data-version]")
    first = lines.count()
    assert first < 100
    for _ in range(3):
        so_far = lines.count()
        page.locator("#sidebar").evaluate("e => { e.scrollTop = e.scrollHeight }")
        until(lambda so_far=so_far: lines.count() > so_far, "older ones are there")
    assert order(page) == [f"Number {n}" for n in range(lines.count())]
    expect(page.locator("#older")).to_have_count(1)
    # What lies beyond stays there, and what is there moves to the top.
    many.post(f"{line(page, 'Number 60').locator('a').get_attribute('href')}pin/")
    until(lambda: order(page)[0] == "Number 60", "it is pinned")
    assert order(page).count("Number 60") == 1


def test_5_11_the_list_goes_on_by_a_link_without_javascript(server, many, open_page):
    page = open_page(many, java_script_enabled=False)
    page.goto("/")
    before = order(page)
    page.get_by_role("link", name="Older").click()
    after = order(page)
    assert len(after) >= 40
    assert not set(before) & set(after)


@pytest.mark.parametrize("address", ["/conversations/?before=x", "/conversations/?before=%00"])
def test_5_11_a_place_that_is_none_is_not_there(owner, address):
    assert owner.get(address).status_code == 404


# --- by keyboard, and on a phone ---


def test_5_13_the_arrows_walk_the_list(server, many, open_page):
    page = open_page(many)
    live(page)
    page.locator("#listed > [data-version] > a").first.focus()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    expect(page.locator("#listed > [data-version] > a").nth(2)).to_be_focused()
    page.keyboard.press("ArrowUp")
    expect(page.locator("#listed > [data-version] > a").nth(1)).to_be_focused()


def test_5_14_without_javascript_a_conversation_is_pinned_deleted_and_restored(
    answered, owner, open_page
):
    page = open_page(owner, java_script_enabled=False)
    page.goto(f"/c/{answered.conversation}/")
    page.locator("#conversation-menu-button").click()
    page.get_by_role("button", name="Pin", exact=True).click()
    assert order(page)[0] == answered.title
    page.locator("#conversation-menu-button").click()
    page.get_by_role("button", name="Unpin").click()
    page.locator("#conversation-menu-button").click()
    page.locator("[name=delete-conversation]").click()
    expect(page.get_by_text(f"Deleted: {answered.title}")).to_be_visible()
    page.get_by_role("button", name="Undo").click()
    expect(page).to_have_url(re.compile(f"/c/{answered.conversation}/$"))
    expect(page.locator("[data-part=body]").last).to_have_text("Hello.")


# --- the reader's time zone ---


def zone_where_it_is(hour: int) -> str:
    """A time zone in which it is that hour of the day now. POSIX counts them westwards."""
    ahead = (hour - datetime.now(UTC).hour + 12) % 24 - 12
    return f"Etc/GMT{-ahead:+d}"


@pytest.mark.parametrize(("hour", "day"), [(3, "Yesterday"), (15, "Today")])
def test_5_11_days_are_those_of_the_browsers_time_zone(server, gateway, open_page, hour, day):
    reader = server.add_user(f"reader-at-{hour}")
    conversation = reader.send("Say hello")
    reader.wait_for_reply(conversation, "complete")
    earlier = f"""
from datetime import timedelta
from chat.models import Conversation
found = Conversation.objects.get(uuid="{conversation}")
found.active_at -= timedelta(hours=5)
found.save(update_fields=["active_at"])
"""
    server.manage("shell", "-v0", "-c", earlier)
    page = open_page(reader, timezone_id=zone_where_it_is(hour))
    live(page)
    heading = page.locator(f"#listed .day:has(~ #c-{conversation})").last
    expect(heading).to_have_text(day)
    page.reload()
    expect(heading).to_have_text(day)
    reader.post(f"/c/{conversation}/rename/", {"title": "Anew"})
    expect(page.locator(f"#c-{conversation} > a")).to_have_text("Anew")
    expect(heading).to_have_text(day)
