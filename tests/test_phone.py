"""Issue 5, line 15: installed, on a phone with its keyboard open, offline, and logged out meanwhile."""

import re
import struct

import pytest
from playwright.sync_api import Page, expect

PHONE = {"viewport": {"width": 360, "height": 740}, "has_touch": True, "is_mobile": True}
KEYBOARD_OPEN = {"width": 360, "height": 380}
REPLY = "[data-role=assistant]"


def live(page: Page, path: str = "/") -> None:
    page.goto(path)
    page.locator("body[data-connection=live]").wait_for()


def test_5_15_potok_can_be_installed(page):
    live(page)
    devtools = page.context.new_cdp_session(page)
    found = devtools.send("Page.getAppManifest")
    assert found["url"].endswith("/manifest.webmanifest")
    assert found["errors"] == []
    assert devtools.send("Page.getInstallabilityErrors")["installabilityErrors"] == [
        # A window of a test is private, and nothing can be installed from one.
        {"errorId": "in-incognito", "errorArguments": []}
    ]


def test_5_15_its_icons_are_there_and_as_large_as_they_say(server):
    visitor = server.visitor()
    answer = visitor.get("/manifest.webmanifest")
    assert answer.headers["Content-Type"] == "application/manifest+json"
    manifest = answer.json()
    purposes = set()
    for icon in manifest["icons"]:
        png = visitor.get(icon["src"])
        assert (png.status_code, png.headers["Content-Type"]) == (200, "image/png")
        width, height = struct.unpack(">II", png.content[16:24])
        assert icon["sizes"] == f"{width}x{height}"
        purposes.add((icon["sizes"], icon["purpose"]))
    assert {("192x192", "any"), ("512x512", "any"), ("512x512", "maskable")} <= purposes
    for shortcut in manifest["shortcuts"]:
        assert visitor.get(shortcut["url"]).status_code == 302  # to the login


@pytest.mark.parametrize(("language", "name"), [("en", "New chat"), ("ru", "Новый чат")])
def test_5_15_it_is_installed_in_the_readers_language(server, language, name):
    manifest = server.visitor(**{"Accept-Language": language}).get("/manifest.webmanifest").json()
    assert (manifest["lang"], manifest["shortcuts"][0]["name"]) == (language, name)


def test_5_15_with_the_phones_keyboard_open_the_last_words_and_the_field_are_in_view(
    gateway, owner, open_page
):
    gateway.reply("\n\n".join(f"Line {n}" for n in range(60)))
    conversation = owner.send("Count")
    owner.wait_for_reply(conversation, "complete")
    page = open_page(owner, **PHONE)
    live(page, f"/c/{conversation}/")
    viewport = page.locator("meta[name=viewport]").get_attribute("content")
    assert "interactive-widget=resizes-content" in viewport
    page.locator("#text").tap()
    page.set_viewport_size(KEYBOARD_OPEN)
    expect(page.get_by_text("Line 59")).to_be_in_viewport()
    expect(page.locator("[name=send]")).to_be_in_viewport()
    page.locator("#text").fill("\n".join("one more line" for _ in range(30)))
    for control in (page.locator("#text"), page.locator("[name=send]"), page.locator(".bar")):
        box = control.bounding_box()
        assert box["y"] >= 0
        assert box["y"] + box["height"] <= KEYBOARD_OPEN["height"]
    assert page.locator("html").evaluate("e => e.scrollWidth <= e.clientWidth")


def test_5_15_an_offline_page_says_so_and_comes_back(gateway, page, complaints):
    complaints[0].allow("ERR_INTERNET_DISCONNECTED")
    live(page)
    banner = page.locator(".when-offline")
    expect(banner).to_be_hidden()
    page.context.set_offline(True)
    expect(banner).to_be_visible()
    page.locator("#text").fill("Written without a network")
    page.context.set_offline(False)
    expect(banner).to_be_hidden()
    expect(page.locator("#text")).to_have_value("Written without a network")
    page.locator("#text").fill("")


def test_5_15_what_an_offline_page_could_not_do_is_said_where_it_was_asked_for(
    gateway, owner, page, complaints
):
    gateway.reply("An answer.")
    conversation = owner.send("A question")
    owner.wait_for_reply(conversation, "complete")
    complaints[0].allow("ERR_INTERNET_DISCONNECTED|^htmx:")
    live(page, f"/c/{conversation}/")
    page.locator(f"{REPLY} [name=delete]").click()
    dialog = page.locator("#ask")
    dialog.locator("[name=confirm]").wait_for()
    page.context.set_offline(True)
    dialog.locator("[name=confirm]").click()
    undone = "This could not be done: no connection. Try again."
    expect(dialog.get_by_role("alert")).to_have_text(undone)
    expect(dialog.get_by_role("alert")).to_be_in_viewport()
    page.keyboard.press("Escape")
    expect(page.get_by_role("alert")).to_have_count(0)
    again = page.locator(f"{REPLY} [name=regenerate]")
    again.press("Enter")
    expect(page.locator("#composer-alert")).to_have_text(undone)
    expect(again).to_be_focused()
    page.context.set_offline(False)
    page.locator("body[data-connection=live]").wait_for()
    gateway.reply("Another one.")
    again.press("Enter")
    expect(page.locator(REPLY)).to_contain_text("Another one.")
    expect(page.get_by_role("alert")).to_have_count(0)


def test_5_15_after_an_expired_login_the_draft_is_sent_from_where_it_was_written(
    gateway, server, open_page, complaints
):
    gateway.reply("Hello.")
    gateway.reply("And hello again.")
    member = server.add_user("expired")
    conversation = member.send("Say hello")
    member.wait_for_reply(conversation, "complete")
    page = open_page(member)
    complaints[0].allow("status of 401")  # what the draft would cost is asked of nobody
    live(page, f"/c/{conversation}/")
    page.locator("#text").fill("A long thought, half written")
    elsewhere = server.visitor().log_in("expired")
    elsewhere.post("/settings/log-out/")
    link = page.get_by_role("link", name="Log in again")
    expect(link).to_be_visible()
    expect(page.locator("#text")).to_have_value("A long thought, half written")
    link.click()
    page.locator("[name=username]").fill("expired")
    page.locator("[type=password]").fill("correct horse battery")
    page.locator("main button").click()
    page.wait_for_url(f"**/c/{conversation}/")
    expect(page.locator("#text")).to_have_value("A long thought, half written")
    page.locator("#text").press("Enter")
    expect(page.locator(f"{REPLY} [data-part=body]").last).to_have_text("And hello again.")


def test_5_15_a_send_that_meets_an_expired_login_loses_no_word(
    gateway, server, open_page, complaints
):
    """Before the socket has said a word: the send itself is what finds the login gone."""
    member = server.add_user("expired-too")
    page = open_page(member)
    complaints[0].allow("status of 401")
    live(page)
    page.context.clear_cookies(name="sessionid")
    page.locator("#text").fill("Sent too late")
    page.locator("#text").press("Enter")
    page.wait_for_url(re.compile("/login/"))
    page.locator("[name=username]").fill("expired-too")
    page.locator("[type=password]").fill("correct horse battery")
    page.locator("main button").click()
    page.wait_for_url("**/")
    expect(page.locator("#text")).to_have_value("Sent too late")
