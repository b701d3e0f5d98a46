"""Issue 5, line 13: everything by keyboard, on any layout, and a sheet that says how."""

import re

import pytest
from playwright.sync_api import Page, expect

REPLY = "[data-role=assistant]"


def live(page: Page, path: str = "/") -> None:
    page.goto(path)
    page.locator("body[data-connection=live]").wait_for()


def press(page: Page, code: str, key: str, **modifiers: bool) -> None:
    """A key as a layout of the reader's would send it: `code` is its place, `key` what it says."""
    page.locator(":focus, body").last.dispatch_event(
        "keydown", {"code": code, "key": key, "bubbles": True, "cancelable": True, **modifiers}
    )


@pytest.fixture
def answered(gateway, owner, page) -> Page:
    gateway.reply("Some *code*:\n\n```python\nprint(1)\n```\n")
    conversation = owner.send("Show me code")
    owner.wait_for_reply(conversation, "complete")
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    live(page, f"/c/{conversation}/")
    return page


@pytest.mark.parametrize(
    ("code", "key", "modifiers"),
    [
        ("Slash", "?", {"shiftKey": True}),
        ("Digit7", "?", {"shiftKey": True}),  # where a Russian layout has it
        ("Slash", ",", {"shiftKey": True}),  # what a Russian layout has at its place
        ("Slash", "/", {"ctrlKey": True}),
        ("Slash", ".", {"ctrlKey": True}),
    ],
)
def test_5_13_the_sheet_opens_by_a_key_of_any_layout_and_escape_closes_it(
    page, code, key, modifiers
):
    live(page)
    page.locator("#sidebar").focus()
    press(page, code, key, **modifiers)
    sheet = page.get_by_role("dialog", name="Keyboard shortcuts")
    expect(sheet).to_be_visible()
    page.keyboard.press("Escape")
    expect(sheet).to_be_hidden()
    expect(page.locator("#sidebar")).to_be_focused()


@pytest.mark.parametrize("field", ["#text", "[name=model]"])
def test_5_13_a_question_mark_that_is_typed_is_a_question_mark(page, field):
    live(page)
    page.locator(field).focus()
    page.keyboard.press("Shift+Slash")
    page.keyboard.type("?")
    expect(page.locator("#shortcuts")).to_be_hidden()
    expect(page.locator(field)).to_have_value("??")


def test_5_13_the_sheet_opens_from_the_menu_without_a_key(page):
    live(page)
    page.locator(".account-button").click()
    page.get_by_role("button", name="Keyboard shortcuts").click()
    expect(page.get_by_role("dialog", name="Keyboard shortcuts")).to_be_visible()


def test_5_13_keys_copy_the_last_reply_and_its_code_on_a_russian_layout(answered):
    press(answered, "KeyC", "С", ctrlKey=True, shiftKey=True)
    expect(answered.locator("#announcer")).to_have_text("Copied.")
    text = answered.evaluate("navigator.clipboard.readText()")
    assert text == "Some *code*:\n\n```python\nprint(1)\n```\n"
    press(answered, "Semicolon", "Ж", ctrlKey=True, shiftKey=True)
    expect(answered.locator("[name=copy-code][data-done]")).to_have_count(1)
    assert answered.evaluate("navigator.clipboard.readText()") == "print(1)\n"


def test_5_13_keys_lead_to_the_list_the_field_the_model_the_menu_and_a_new_chat(answered):
    answered.keyboard.press("Control+Shift+S")
    expect(answered.locator("#listed [aria-current]")).to_be_focused()
    answered.keyboard.press("Shift+Escape")
    expect(answered.locator("#text")).to_be_focused()
    answered.keyboard.press("Control+Shift+M")
    expect(answered.locator("[name=model]")).to_be_focused()
    answered.keyboard.press("Control+Shift+U")
    expect(answered.locator("#conversation-menu [name=rename]")).to_be_focused()
    answered.keyboard.press("Escape")
    expect(answered.locator("#conversation-menu-button")).to_be_focused()
    press(answered, "KeyO", "щ", ctrlKey=True, shiftKey=True)
    expect(answered).to_have_url(re.compile(r"/$"))
    expect(answered.locator("article")).to_have_count(0)
    press(answered, "KeyK", "л", ctrlKey=True)
    expect(answered).to_have_url(re.compile("/search/$"))


def test_5_13_a_dialog_gives_the_focus_back_to_what_opened_it(answered):
    dialog, asked = answered.locator("#ask"), answered.locator("#ask[open] .dialog-buttons")
    delete = answered.locator(f"{REPLY} [name=delete]")
    delete.press("Enter")
    asked.wait_for()
    answered.keyboard.press("Escape")
    expect(delete).to_be_focused()
    parameters = answered.locator("#parameters-link")
    parameters.press("Enter")
    asked.wait_for()
    dialog.locator("[name=temperature]").fill("0.5")
    dialog.locator("[name=temperature]").press("Enter")
    expect(parameters).to_have_attribute("data-set", "")
    expect(parameters).to_be_focused()
    title = answered.locator("#rename [name=title]")
    for key, words in (("Escape", "Given up"), ("Enter", "Another title")):
        answered.keyboard.press("Control+Shift+U")
        answered.keyboard.press("Enter")
        title.fill(words)
        title.press(key)
        expect(answered.locator("#conversation-menu-button")).to_be_focused()
    expect(answered.locator("#title")).to_have_text("Another title")
    of_line = answered.locator("#listed li:has([aria-current]) [popovertarget]")
    for pinned in (1, 0):
        of_line.press("Enter")
        answered.locator("#conversation-menu [name=pinned]:visible").press("Enter")
        expect(answered.locator("#listed [data-pinned] [aria-current]")).to_have_count(pinned)
        expect(of_line).to_be_focused()


def test_5_13_the_list_of_a_narrow_page_opens_by_its_key(owner, open_page):
    page = open_page(owner, viewport={"width": 360, "height": 700})
    live(page)
    page.keyboard.press("Control+Shift+S")
    expect(page.locator("#drawer")).to_be_visible()
    page.keyboard.press("Control+Shift+S")
    expect(page.locator("#drawer")).to_be_hidden()


def test_5_13_every_control_is_reached_by_tab_and_shows_that_it_has_the_focus(answered):
    names = {"copy", "regenerate", "delete", "edit", "text", "model"}
    reached: set[str] = set()
    answered.locator(".skip").focus()
    # Through the list of conversations as well, which the tests before have made long.
    for _ in range(1_000):
        answered.keyboard.press("Tab")
        focused = answered.locator(":focus")
        if not focused.count():
            continue
        reached.add(focused.get_attribute("name") or "")
        assert focused.evaluate("e => e.checkVisibility({ visibilityProperty: true })")
        if names <= reached:
            break
    assert names <= reached
