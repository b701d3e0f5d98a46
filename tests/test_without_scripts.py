"""Potok where no script runs: forms, links, and a page that fills by being loaded again."""

import re

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.script import usage_of

REPLY = "[data-role=assistant]"
COMPLETE = f"{REPLY}[data-status=complete]"


@pytest.fixture
def page(open_page, owner) -> Page:
    return open_page(owner, java_script_enabled=False)


def text_field(page: Page) -> Locator:
    return page.locator("#composer [name=text]")


def ask(page: Page, words: str) -> None:
    text_field(page).fill(words)
    page.locator("#composer [name=send]").click()


def test_5_14_a_question_is_asked_and_its_reply_stopped(gateway, page):
    gate = gateway.gate()
    gateway.reply("One ", gate, "two")
    page.goto("/")
    ask(page, "Count")
    gate.wait_reached()
    expect(page.locator("#composer")).to_be_hidden()
    expect(page.locator("a[href='?compose']")).to_be_visible()
    page.locator("[name=stop]").click()
    page.locator(f"{REPLY}[data-status=stopped]").wait_for()
    expect(page.locator("#composer")).to_be_visible()
    gate.open()


def test_5_14_the_page_fills_by_itself_and_then_stays(gateway, page):
    gate = gateway.gate()
    gateway.reply("One ", gate, "*two*", usage=usage_of(3, 2))
    page.goto("/")
    ask(page, "Count")
    expect(page.locator(f"{REPLY} [data-part=body]")).to_contain_text("One")
    expect(page.locator("meta[http-equiv=refresh]")).to_have_count(1)
    gate.open()
    page.locator(COMPLETE).wait_for()
    expect(page.locator("em")).to_have_text("two")
    expect(page.locator("[data-part=usage]")).to_contain_text("3 tokens in, 2 out")
    expect(page.locator("meta[http-equiv=refresh]")).to_have_count(0)
    expect(page.locator("#composer")).to_be_visible()


def test_5_14_what_is_written_while_a_reply_runs_is_not_wiped_by_a_refresh(gateway, page):
    gate = gateway.gate()
    gateway.reply("One ", gate, "two")
    gateway.reply("Three.")
    page.goto("/")
    ask(page, "Count")
    page.locator("a[href='?compose']").click()
    expect(page.locator("meta[http-equiv=refresh]")).to_have_count(0)
    ask(page, "And on")
    page.locator("[data-status=queued]").wait_for()
    gate.open()
    expect(page.locator(COMPLETE)).to_have_count(2)
    expect(page.locator(f"{REPLY} [data-part=body]").last).to_have_text("Three.")


def test_5_14_versions_are_made_and_switched(gateway, owner, page):
    gateway.reply("First.")
    conversation = owner.send("A question")
    owner.wait_for_reply(conversation, "complete")
    gateway.reply("Second.")
    page.goto(f"/c/{conversation}/")
    page.locator("[name=regenerate]").click()
    expect(page.locator(f"{COMPLETE} [data-part=body]")).to_have_text("Second.")
    expect(page.locator(f"{REPLY} .versions")).to_contain_text("2/2")
    page.locator("[name=branch-prev]").click()
    expect(page.locator(f"{COMPLETE} [data-part=body]")).to_have_text("First.")
    gateway.reply("Third.")
    page.locator("[data-role=user] [name=edit]").click()
    page.locator("textarea[name=text]").fill("Another question")
    page.locator("[name=save]").click()
    expect(page.locator(f"{COMPLETE} [data-part=body]")).to_have_text("Third.")
    expect(page.locator("[data-role=user] .versions")).to_contain_text("2/2")
    expect(page).to_have_url(re.compile(f"/c/{conversation}/$"))


def test_5_14_what_is_refused_keeps_its_text(page, complaints):
    complaints[0].allow("status of 422")
    page.goto("/")
    page.locator("#composer [name=gateway]").evaluate("e => { e.value = 'unheard-of' }")
    ask(page, "A long thought")
    expect(page.get_by_role("alert")).to_be_visible()
    expect(text_field(page)).to_have_value("A long thought")


def test_5_14_a_title_is_changed_and_shortcuts_are_read(gateway, owner, page):
    conversation = owner.send("A question")
    owner.wait_for_reply(conversation, "complete")
    page.goto(f"/c/{conversation}/")
    page.locator("#conversation-menu-button").click()
    page.locator("#conversation-menu [name=rename]").click()
    page.locator("#rename-title").fill("A title of my own")
    page.locator("#rename button.button-main").click()
    expect(page.locator("#title")).to_have_text("A title of my own")
    page.locator(".account-button").click()
    page.locator("#account").get_by_role("button", name="Keyboard shortcuts").click()
    expect(page.locator("#shortcuts")).to_be_visible()


def test_5_14_with_scripts_the_same_forms_change_the_page_in_place(gateway, owner, open_page):
    page = open_page(owner)
    page.goto("/")
    page.locator("body[data-connection=live]").wait_for()
    page.evaluate("window.isSame = true")
    ask(page, "A question")
    page.locator(COMPLETE).wait_for()
    page.locator("[name=regenerate]").click()
    expect(page.locator(f"{REPLY} .versions")).to_contain_text("2/2")
    page.locator(COMPLETE).wait_for()
    expect(page).to_have_url(re.compile("/c/[0-9a-f-]{36}/$"))
    assert page.evaluate("window.isSame")
