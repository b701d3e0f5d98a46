"""The page in a browser: writing, reading, and what its buttons do."""

import re

import pytest
from playwright.sync_api import Locator, Page, WebSocket, expect

from tests.waiting import until

REPLY = "[data-role=assistant]"
ENDED = f"{REPLY}:last-child[data-status=complete]"
MANY_LINES = "".join(f"{number}\n\n" for number in range(200))


def text_field(page: Page) -> Locator:
    return page.locator("#composer [name=text]")


def ask(page: Page, words: str) -> None:
    text_field(page).fill(words)
    text_field(page).press("Enter")


def live(page: Page, path: str = "/") -> None:
    page.goto(path)
    page.locator("body[data-connection=live]").wait_for()


def from_end(page: Page) -> float:
    """Pixels between what is seen of the thread and its end."""
    return float(
        page.locator("#scroll").evaluate("e => e.scrollHeight - e.clientHeight - e.scrollTop")
    )


# --- writing ---


def test_5_7_enter_sends_and_the_field_is_free_again(gateway, page):
    gateway.reply("Hello.")
    live(page)
    key = page.locator("#composer [name=client_key]").input_value()
    ask(page, "Say hello")
    page.locator(ENDED).wait_for()
    expect(page).to_have_url(re.compile(r"/c/[0-9a-f-]{36}/$"))
    expect(page).to_have_title("Say hello · Potok")
    expect(text_field(page)).to_have_value("")
    expect(text_field(page)).to_be_focused()
    assert page.locator("#composer [name=client_key]").input_value() != key


def test_5_7_an_enter_that_ends_composing_a_character_sends_nothing(page):
    live(page)
    text_field(page).fill("にほん")
    text_field(page).dispatch_event(
        "keydown", {"key": "Enter", "isComposing": True, "cancelable": True}
    )
    text_field(page).press("Shift+Enter")
    expect(text_field(page)).to_have_value("にほん\n")
    expect(page.locator("article")).to_have_count(0)


def test_5_7_return_on_a_touch_keyboard_breaks_the_line(open_page, owner):
    page = open_page(owner, has_touch=True, is_mobile=True, viewport={"width": 360, "height": 700})
    live(page)
    text_field(page).fill("One")
    text_field(page).press("Enter")
    expect(text_field(page)).to_have_value("One\n")
    expect(page.locator("article")).to_have_count(0)


def test_5_7_a_draft_outlives_a_reload_and_ends_with_its_send(gateway, page):
    gateway.reply("Yes.")
    live(page)
    text_field(page).fill("Half a thought")
    page.reload()
    expect(text_field(page)).to_have_value("Half a thought")
    text_field(page).press("Enter")
    page.locator(ENDED).wait_for()
    live(page)
    expect(text_field(page)).to_have_value("")


def test_5_7_what_is_typed_before_the_scripts_are_there_is_put_behind_the_draft(page):
    live(page)
    text_field(page).fill("Half a ")
    held = []
    page.route("**/chat.*.js", lambda route: held.append(route))
    page.reload(wait_until="commit")
    text_field(page).fill("thought")
    until(lambda: page.evaluate("1") and held, "the script is asked for")
    held[0].continue_()
    expect(text_field(page)).to_have_value("Half a thought")
    page.unroute_all()
    page.reload()
    expect(text_field(page)).to_have_value("Half a thought")
    text_field(page).fill("")


def test_5_7_a_question_that_is_posted_before_htmx_is_there_leaves_no_draft(gateway, page):
    gateway.reply("Yes.")
    held = []
    page.route("**/htmx-*.js", lambda route: held.append(route))
    page.goto("/", wait_until="commit")
    until(lambda: page.evaluate("1") and held, "the script is asked for")
    usable = "performance.getEntriesByName('usable').length"
    until(lambda: page.evaluate(usable), "the composer's script has run")
    text_field(page).press_sequentially("Are you there?")
    until(
        lambda: page.evaluate("JSON.stringify(localStorage).includes('Are you there?')"),
        "it is kept as a draft",
    )
    page.unroute_all()
    page.locator("#composer [name=send]").click()
    page.wait_for_url(re.compile("/c/"))
    page.locator(ENDED).wait_for()
    expect(text_field(page)).to_have_value("")
    live(page)
    expect(text_field(page)).to_have_value("")


def test_5_7_each_conversation_has_a_draft_of_its_own(owner, page):
    paths = ["/", *(f"/c/{owner.send(words)}/" for words in ("First", "Second"))]
    for path in paths:
        live(page, path)
        expect(text_field(page)).to_have_value("")
        text_field(page).press_sequentially(f"For {path}")
    for path in paths:
        live(page, path)
        expect(text_field(page)).to_have_value(f"For {path}")
        text_field(page).fill("")


def test_5_7_a_send_without_a_connection_keeps_the_text_and_says_so(gateway, page, complaints):
    gateway.reply("Here.")
    complaints[0].allow("ERR_INTERNET_DISCONNECTED|htmx:")
    live(page)
    page.context.set_offline(True)
    ask(page, "Anybody there?")
    alert = page.locator("#composer-alert [role=alert]")
    expect(alert).to_contain_text("no connection")
    expect(text_field(page)).to_have_value("Anybody there?")
    page.context.set_offline(False)
    text_field(page).press("Enter")
    page.locator(ENDED).wait_for()
    expect(alert).to_have_count(0)
    expect(page.locator("[data-role=user]")).to_have_count(1)


def test_5_15_a_page_knocks_before_it_opens_socket_after_socket_and_is_back_at_once(
    fresh_server, open_page, complaints
):
    """Chromium lets a page whose sockets keep failing wait for seconds."""
    page = open_page(fresh_server.visitor().set_up())
    complaints[0].allow("WebSocket connection to .* failed|ERR_CONNECTION_REFUSED")
    sockets: list[WebSocket] = []
    page.on("websocket", lambda socket: sockets.append(socket))
    live(page)
    fresh_server.kill()
    for _ in range(4):
        page.wait_for_event("requestfailed", lambda request: request.url.endswith("/healthz"))
    assert len(sockets) <= 2
    fresh_server.start()
    page.locator("body[data-connection=live]").wait_for()
    assert len(sockets) <= 3


def test_5_9_a_model_is_found_by_typing_and_taken_by_keyboard(gateway, page):
    live(page)
    model = page.locator("[name=model]")
    model.click()
    names = page.locator("#model-list [role=option]")
    until(lambda: names.count(), "models are listed")
    name = names.last.inner_text()
    model.fill(name)
    model.press("ArrowDown")
    model.press("Enter")
    expect(model).to_have_value(name)
    expect(page.locator("#model-list")).to_be_hidden()
    expect(text_field(page)).to_be_focused()


# --- while a reply runs ---


def test_5_7_stop_stands_where_send_stands_until_there_is_something_to_send(gateway, page):
    gate = gateway.gate()
    gateway.reply("One ", gate, "two")
    live(page)
    ask(page, "Count")
    gate.wait_reached()
    stop, send = page.locator(f"{REPLY} [name=stop]"), page.locator("[name=send]")
    until(lambda: stop.bounding_box() == send.bounding_box(), "Stop stands where Send stood")
    text_field(page).fill("And then?")
    until(lambda: stop.bounding_box() != send.bounding_box(), "Send is seen again")
    text_field(page).fill("")
    text_field(page).press("Escape")
    page.locator(f"{REPLY}[data-status=stopped]").wait_for()
    expect(stop).to_have_count(0)
    gate.open()


def test_5_13_a_finished_reply_is_announced_once(gateway, page):
    gate = gateway.gate()
    gateway.reply("One ", gate, "two")
    live(page)
    ask(page, "Count")
    gate.wait_reached()
    expect(page.locator("#announcer")).to_have_text("")
    gate.open()
    expect(page.locator("#announcer")).to_have_text("The reply is finished.")


def test_5_4_the_page_follows_a_reply_until_the_reader_leaves_the_end(gateway, page):
    first, second = gateway.gate(), gateway.gate()
    gateway.reply(MANY_LINES, first, MANY_LINES, second, "end")
    live(page)
    ask(page, "Count")
    first.wait_reached()
    expect(page.locator(f"{REPLY} .block")).to_have_count(200)
    until(lambda: from_end(page) < 2, "the end is in view")

    page.mouse.move(600, 300)
    page.mouse.wheel(0, -300)
    expect(page.locator("#latest")).to_be_visible()
    until(lambda: from_end(page) > 200, "the wheel has turned")
    top = page.locator("#scroll").evaluate("e => e.scrollTop")
    first.open()
    second.wait_reached()
    expect(page.locator(f"{REPLY} .block")).to_have_count(400)
    assert page.locator("#scroll").evaluate("e => e.scrollTop") == top

    page.locator("#latest").click()
    second.open()
    page.locator(ENDED).wait_for()
    until(lambda: from_end(page) < 2, "the end is in view again")
    expect(page.locator("#latest")).to_be_hidden()


# --- with a reply that is there ---


@pytest.fixture
def answered(gateway, owner, page) -> Page:
    """A page with one question and its answer."""
    gateway.reply("Some *code*:\n\n```python\nprint(1)\n```\n")
    conversation = owner.send("Show me code")
    owner.wait_for_reply(conversation, "complete")
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    live(page, f"/c/{conversation}/")
    return page


def clipboard(page: Page) -> str:
    return str(page.evaluate("navigator.clipboard.readText()"))


def test_5_16_copy_gives_the_markdown_as_it_came(answered):
    answered.locator(f"{REPLY} [name=copy]").click()
    expect(answered.locator("#announcer")).to_have_text("Copied.")
    assert clipboard(answered) == "Some *code*:\n\n```python\nprint(1)\n```\n"
    kinds = answered.evaluate("navigator.clipboard.read().then(items => items[0].types)")
    assert "text/html" in kinds


def test_5_2_the_button_of_a_code_block_copies_its_code(answered):
    answered.locator("[name=copy-code]").click()
    expect(answered.locator("#announcer")).to_have_text("Copied.")
    assert clipboard(answered) == "print(1)\n"


def test_5_8_regenerate_makes_a_second_version_beside_the_first(gateway, answered):
    gateway.reply("Another answer.")
    answered.locator(f"{REPLY} [name=regenerate]").click()
    expect(answered.locator(f"{REPLY} [data-part=body]")).to_have_text("Another answer.")
    expect(answered.locator(f"{REPLY} .versions")).to_contain_text("2/2")
    answered.locator("[name=branch-prev]").click()
    expect(answered.locator(f"{REPLY} .versions")).to_contain_text("1/2")
    expect(answered.locator(f"{REPLY} [data-part=body]")).to_contain_text("Some code")
    answered.reload()
    expect(answered.locator(f"{REPLY} .versions")).to_contain_text("1/2")


def test_5_8_a_reply_that_was_cut_goes_on_where_it_stopped(gateway, page):
    gateway.reply("One, **two", finish="length")
    gateway.reply(", three** and four.")
    live(page)
    ask(page, "Count")
    page.locator(f"{REPLY} [name=continue]").click()
    page.locator(ENDED).filter(has_text="four").wait_for()
    expect(page.locator(f"{REPLY} [data-part=body] strong")).to_have_text("two, three")
    expect(page.locator("article")).to_have_count(2)
    expect(page.locator(f"{REPLY} [name=continue]")).to_have_count(0)
    lived = page.locator("#messages").evaluate("e => e.outerHTML")
    page.reload()
    page.locator("body[data-connection=live]").wait_for()
    assert page.locator("#messages").evaluate("e => e.outerHTML") == lived


def test_5_7_arrow_up_edits_the_last_question_and_enter_asks_it_anew(gateway, answered):
    gateway.reply("A table.")
    text_field(answered).press("ArrowUp")
    edit = answered.locator(".edit textarea")
    expect(edit).to_be_focused()
    edit.press("Escape")
    expect(edit).to_have_count(0)
    expect(text_field(answered)).to_be_focused()
    answered.locator("[data-role=user] [name=edit]").click()
    edit.press("Escape")
    expect(answered.locator("[data-role=user] [name=edit]")).to_be_focused()
    text_field(answered).press("ArrowUp")
    expect(edit).to_be_focused()
    edit.fill("Show me a table")
    edit.press("Enter")
    expect(answered.locator("[data-role=user] .words")).to_have_text("Show me a table")
    expect(answered.locator(f"{REPLY} [data-part=body]")).to_have_text("A table.")
    expect(answered.locator("[data-role=user] .versions")).to_contain_text("2/2")


@pytest.mark.parametrize("is_sure", [True, False])
def test_5_8_a_message_is_deleted_once_the_question_is_answered_yes(answered, is_sure):
    answered.locator("[data-role=user]").hover()
    answered.locator("[data-role=user] [name=delete]").click()
    dialog = answered.get_by_role("dialog", name="Delete 2 messages?")
    dialog.get_by_role("button", name="Delete" if is_sure else "Cancel").click()
    expect(dialog).to_be_hidden()
    expect(answered.locator("article")).to_have_count(0 if is_sure else 2)


def test_5_11_a_conversation_is_renamed_from_its_menu(answered):
    answered.locator("#conversation-menu-button").click()
    answered.locator("#conversation-menu [name=rename]").click()
    answered.locator("#rename-title").fill("A better name")
    answered.locator("#rename-title").press("Enter")
    expect(answered.locator("#title")).to_have_text("A better name")
    expect(answered.locator("#sidebar [aria-current=page]")).to_have_text("A better name")
    expect(answered.locator("#rename")).to_be_hidden()


def test_5_13_a_comment_that_is_given_up_leaves_the_focus_at_its_button(answered):
    answered.locator(f"{REPLY} [name=rating]").first.click()
    comment = answered.locator(f"{REPLY} button[name=comment]")
    comment.click()
    field = answered.locator(".feedback textarea")
    expect(field).to_be_focused()
    expect(comment).to_be_hidden()
    field.press("Escape")
    expect(answered.locator(".feedback")).to_have_count(0)
    expect(comment).to_be_focused()


def test_5_15_a_long_dialog_keeps_its_buttons_in_sight(open_page, owner):
    page = open_page(owner, viewport={"width": 360, "height": 500})
    live(page)
    page.locator("#parameters-link").click()
    done = page.locator("#ask .dialog-buttons button").last
    expect(done).to_be_in_viewport(ratio=1)
    page.locator("#ask summary").click()
    expect(done).to_be_in_viewport(ratio=1)
    box = page.locator("#ask").bounding_box()
    assert done.bounding_box()["y"] + done.bounding_box()["height"] <= box["y"] + box["height"]


def test_5_13_the_drawer_of_a_narrow_page_opens_and_closes_by_keyboard(open_page, owner):
    page = open_page(owner, viewport={"width": 360, "height": 700})
    live(page)
    drawer = page.locator("#drawer")
    expect(drawer).to_be_hidden()
    page.locator(".bar [popovertarget=drawer]").press("Enter")
    expect(drawer).to_be_visible()
    page.keyboard.press("Escape")
    expect(drawer).to_be_hidden()
    expect(page.locator(".bar [popovertarget=drawer]")).to_be_focused()


@pytest.mark.parametrize("width", [360, 768, 1440])
def test_5_15_nothing_scrolls_sideways_but_code_and_tables_in_their_boxes(
    gateway, owner, open_page, width
):
    wide = "word" * 80
    gateway.reply(
        f"{wide}\n\n`{wide}`\n\n```\n{wide}\n```\n\n| a | b |\n|--|--|\n| {wide} | {wide} |"
    )
    conversation = owner.send(wide)
    owner.wait_for_reply(conversation, "complete")
    page = open_page(owner, viewport={"width": width, "height": 800})
    live(page, f"/c/{conversation}/")
    for box in ("html", "#scroll", "#messages", ".words", ".prose"):
        for element in page.locator(box).all():
            assert element.evaluate("e => e.scrollWidth - e.clientWidth") <= 0, box
