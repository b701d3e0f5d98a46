"""Writing, in a browser: issue 5, lines 7 to 10, by their numbers."""

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Locator, Page, Route, expect

from tests.server import Client, Server
from tests.waiting import until

REPLY = "[data-role=assistant]"
ENDED = f"{REPLY}:last-child[data-status=complete]"


def text_field(page: Page) -> Locator:
    return page.locator("#composer [name=text]")


def ask(page: Page, words: str) -> None:
    text_field(page).fill(words)
    text_field(page).press("Enter")


def live(page: Page, path: str = "/") -> None:
    page.goto(path)
    page.locator("body[data-connection=live]").wait_for()


# --- 7: the composer ------------------------------------------------------------------------------


def test_5_7_the_field_grows_to_40_percent_of_the_window_and_then_scrolls(page):
    live(page)
    heights = []
    for lines in (1, 3, 200):
        text_field(page).fill("\n".join(["line"] * lines))
        heights.append(text_field(page).evaluate("e => e.clientHeight / innerHeight"))
    assert heights[0] < heights[1] < heights[2]
    assert heights[2] == pytest.approx(0.4, abs=0.01)
    assert text_field(page).evaluate("e => e.scrollHeight > e.clientHeight")
    expect(page.locator("#composer [name=send]")).to_be_in_viewport(ratio=1)


def test_5_7_shift_enter_breaks_the_line_and_ctrl_enter_sends(gateway, page):
    gateway.reply("Hello.")
    live(page)
    expect(text_field(page)).to_have_attribute("placeholder", "Ask anything")
    text_field(page).fill("One")
    text_field(page).press("Shift+Enter")
    text_field(page).press_sequentially("Two")
    expect(text_field(page)).to_have_value("One\nTwo")
    text_field(page).press("Control+Enter")
    page.locator(ENDED).wait_for()
    assert gateway.calls[-1].prompt == "One\nTwo"


def test_5_7_over_a_slow_network_a_send_is_seen_to_be_on_its_way_and_goes_once(gateway, page):
    live(page)
    held: list[Route] = []
    page.route("**/messages/", lambda route: held.append(route))
    ask(page, "A long way")
    ring = "e => getComputedStyle(e, '::before').content"
    expect(page.locator("#composer.htmx-request [name=send]")).to_have_count(1)
    assert page.locator("[name=send]").evaluate(ring) == '""'
    text_field(page).press("Enter")
    expect(text_field(page)).to_have_value("A long way")
    (route,) = held
    route.continue_()
    page.locator(ENDED).wait_for()
    expect(text_field(page)).to_have_value("")
    assert page.locator("[name=send]").evaluate(ring) == "none"
    assert (len(held), len(gateway.calls)) == (1, 1)


@pytest.mark.parametrize("is_sent_too", [False, True], ids=["typed", "and Enter pressed"])
def test_5_7_what_is_typed_while_a_send_is_on_its_way_stays_for_the_next(
    gateway, page, is_sent_too
):
    live(page)
    held: list[Route] = []
    page.route("**/messages/", lambda route: held.append(route))
    ask(page, "The first.")
    expect(page.locator("#composer.htmx-request")).to_have_count(1)
    text_field(page).press_sequentially(" The second.")
    if is_sent_too:
        text_field(page).press("Enter")
    held[0].continue_()
    page.locator(ENDED).wait_for()
    expect(text_field(page)).to_have_value("The second.")
    assert [call.prompt for call in gateway.calls] == ["The first."]
    live(page, page.url)
    expect(text_field(page)).to_have_value("The second.")


def test_5_7_a_setting_swaps_enter_and_shift_enter(gateway, server, open_page):
    gateway.reply("Hello.")
    gateway.reply("Hello again.")
    swapper = server.add_user("swapper")
    server.manage("shell", "-v0", "-c", SWAP)
    page = open_page(swapper)
    live(page)
    text_field(page).fill("One")
    text_field(page).press("Enter")
    expect(text_field(page)).to_have_value("One\n")
    text_field(page).press_sequentially("Two")
    text_field(page).press("Shift+Enter")
    page.locator(ENDED).wait_for()
    assert gateway.calls[-1].prompt == "One\nTwo"
    text_field(page).press("ArrowUp")
    edited = page.locator(".edit textarea")
    edited.press("Enter")
    edited.press("Shift+Enter")
    expect(page.locator(ENDED)).to_contain_text("Hello again.")
    assert gateway.calls[-1].prompt == "One\nTwo\n"


SWAP = "from chat.models import User; User.objects.filter(username='swapper').update(enter_sends=False)"


# --- 9: what a conversation asks for ---------------------------------------------------------------


def beside(call) -> dict[str, object]:
    """What a request has that every one of ours hasn't."""
    usual = {"model", "messages", "stream", "stream_options"}
    return {name: value for name, value in call.json.items() if name not in usual}


def test_5_9_a_chat_begins_with_what_its_first_question_takes_along(gateway, page):
    gateway.reply("Ahoy.")
    gateway.reply("Ahoy again.")
    live(page)
    page.locator("#parameters-link").click()
    dialog = page.get_by_role("dialog", name="System prompt and parameters")
    dialog.get_by_label("System prompt").fill("You are a pirate.")
    dialog.get_by_label("Temperature").fill("0,3")
    dialog.get_by_role("button", name="Done").click()
    expect(dialog).to_be_hidden()
    page.locator("#parameters-link").click()
    expect(dialog.get_by_label("Temperature")).to_have_value("0,3")
    page.keyboard.press("Escape")
    ask(page, "Who are you?")
    page.locator(ENDED).wait_for()
    assert beside(gateway.calls[-1]) == {"temperature": 0.3}
    assert gateway.calls[-1].json["messages"][0]["content"] == "You are a pirate."

    # The same page is the conversation's now, and so is what the link opens.
    expect(page.locator("#parameters-link")).to_have_attribute("data-set", "")
    page.locator("#parameters-link").click()
    expect(dialog.get_by_label("System prompt")).to_have_value("You are a pirate.")
    dialog.get_by_label("Temperature").fill("")
    dialog.get_by_label("Reasoning effort").select_option("Low")
    dialog.get_by_role("button", name="Save").click()
    expect(dialog).to_be_hidden()
    ask(page, "And now?")
    expect(page.locator(ENDED)).to_contain_text("again")
    assert beside(gateway.calls[-1]) == {"reasoning_effort": "low"}


def test_5_9_a_parameter_that_can_not_be_is_said_in_the_dialog(gateway, page, owner, complaints):
    conversation = owner.send("One")
    owner.wait_for_reply(conversation, "complete")
    complaints[0].allow("422")
    live(page, f"/c/{conversation}/")
    page.locator("#parameters-link").click()
    page.get_by_label("Temperature").fill("9")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_text("Temperature: enter a number from 0 to 2.")).to_be_visible()
    expect(page.get_by_label("Temperature")).to_have_value("9")


@pytest.mark.parametrize("locale", ["ru"])
def test_5_9_the_error_is_in_the_readers_language(page, complaints):
    complaints[0].allow("422")
    live(page)
    page.locator("#parameters-link").click()
    page.get_by_label("Температура").fill("горячо")
    page.get_by_role("button", name="Готово").click()
    ask(page, "Кто ты?")
    alert = page.get_by_role("alert")
    expect(alert).to_contain_text("Температура: введите число от 0 до 2.")
    expect(text_field(page)).to_have_value("Кто ты?")


def test_5_9_without_javascript_the_parameters_are_a_page(gateway, owner, open_page):
    conversation = owner.send("One")
    owner.wait_for_reply(conversation, "complete")
    page = open_page(owner, java_script_enabled=False)
    page.goto(f"/c/{conversation}/")
    page.locator("#parameters-link").click()
    page.get_by_label("Temperature").fill("1.2")
    page.get_by_role("button", name="Save").click()
    expect(page).to_have_url(re.compile(f"/c/{conversation}/$"))
    text_field(page).fill("Two")
    page.locator("#composer [name=send]").click()
    owner.wait_for_reply(conversation, "complete")
    assert beside(gateway.calls[-1]) == {"temperature": 1.2}
    until(lambda: len(gateway.calls) == 2, "both questions were asked")


# --- 8: branches, deleting, forks, a reply's text ---------------------------------------------------


@pytest.fixture
def answered(gateway, page) -> Page:
    """A conversation with one question and its answer."""
    gateway.reply("First answer.")
    live(page)
    ask(page, "A question")
    page.locator(ENDED).wait_for()
    return page


def outer(page: Page) -> str:
    return str(page.locator("#messages").evaluate("e => e.outerHTML"))


def test_5_8_which_version_is_shown_survives_a_reload(gateway, answered):
    gateway.reply("Second answer.")
    answered.locator(f"{REPLY} [name=regenerate]").click()
    expect(answered.locator(ENDED)).to_contain_text("Second answer.")
    expect(answered.locator(f"{REPLY} .versions")).to_contain_text("2/2")
    answered.locator(f"{REPLY} [name=branch-prev]").click()
    expect(answered.locator(f"{REPLY} .versions")).to_contain_text("1/2")
    answered.reload()
    expect(answered.locator(f"{REPLY} .versions")).to_contain_text("1/2")
    expect(answered.locator(ENDED)).to_contain_text("First answer.")


def test_5_8_deleting_says_how_many_go_also_on_branches_below(gateway, answered):
    gateway.reply("Second answer.")
    answered.locator(f"{REPLY} [name=regenerate]").click()
    expect(answered.locator(ENDED)).to_contain_text("Second answer.")
    answered.locator("[data-role=user]").hover()
    answered.locator("[data-role=user] [name=delete]").click()
    dialog = answered.get_by_role("dialog", name="Delete 3 messages?")
    expect(dialog).to_contain_text("A question")
    expect(dialog).to_contain_text("in all versions")
    dialog.get_by_role("button", name="Cancel").click()
    expect(answered.locator("article")).to_have_count(2)
    answered.locator("[data-role=user] [name=delete]").click()
    dialog.get_by_role("button", name="Delete").click()
    expect(answered.locator("article")).to_have_count(0)
    expect(dialog).to_be_hidden()


@pytest.mark.parametrize("locale", ["ru"])
def test_5_8_the_number_is_declined(answered):
    answered.locator("[data-role=user]").hover()
    answered.locator("[data-role=user] [name=delete]").click()
    expect(answered.get_by_role("dialog", name="Удалить 2 сообщения?")).to_be_visible()


def test_5_8_a_conversation_goes_on_elsewhere_from_any_reply(gateway, answered):
    gateway.reply("Elsewhere.")
    here = answered.url
    answered.locator(f"{REPLY} [name=fork]").click()
    expect(answered).not_to_have_url(here)
    expect(answered.locator("#title")).to_have_text("A question (2)")
    expect(answered.locator(ENDED)).to_contain_text("First answer.")
    ask(answered, "And here?")
    expect(answered.locator(ENDED)).to_contain_text("Elsewhere.")
    sent = [m["content"] for m in gateway.calls[-1].json["messages"]]
    assert sent == ["A question", "First answer.", "And here?"]
    answered.goto(here)
    expect(answered.locator("article")).to_have_count(2)


def test_5_8_a_replys_text_is_changed_in_all_tabs_and_marked(gateway, answered, open_page, owner):
    gateway.reply("Thank you.")
    other = open_page(owner)
    live(other, answered.url)
    answered.locator(f"{REPLY} [name=edit]").click()
    answered.locator(f"{REPLY} .edit textarea").fill("Another *answer*.")
    answered.locator(f"{REPLY} .edit [name=save]").click()
    for page in (answered, other):
        expect(page.locator(f"{REPLY} [data-part=body]")).to_have_text("Another answer.")
        expect(page.locator(f"{REPLY} .edited")).to_have_text("edited")
        expect(page.locator(f"{REPLY} [data-part=usage]")).to_be_attached()
    answered.bring_to_front()
    expect(text_field(answered)).to_be_focused()
    assert outer(answered) == outer(other)
    other.reload()
    assert outer(answered) == outer(other)
    ask(answered, "Go on")
    answered.locator("article:nth-child(4)[data-status=complete]").wait_for()
    assert gateway.calls[-1].json["messages"][1]["content"] == "Another *answer*."


def test_5_8_without_javascript_a_message_is_counted_deleted_changed_and_forked(
    gateway, owner, open_page
):
    gateway.reply("First answer.")
    conversation = owner.send("A question")
    owner.wait_for_reply(conversation, "complete")
    page = open_page(owner, java_script_enabled=False)
    page.goto(f"/c/{conversation}/")
    page.locator(f"{REPLY} [name=edit]").click()
    page.locator("textarea").fill("Another answer.")
    page.get_by_role("button", name="Save").click()
    expect(page.locator(f"{REPLY} [data-part=body]")).to_have_text("Another answer.")
    page.locator(f"{REPLY} [name=fork]").click()
    expect(page).not_to_have_url(re.compile(conversation))
    page.locator("[data-role=user] [name=delete]").click()
    expect(page.get_by_role("heading")).to_have_text("Delete 2 messages?")
    page.get_by_role("button", name="Delete").click()
    expect(page.locator("article")).to_have_count(0)
    assert len(owner.export(conversation)["messages"]) == 2


# --- 10: what it will cost, and what fits -----------------------------------------------------------


@pytest.fixture(scope="module")
def priced(tmp_path_factory, shared_gateway) -> Iterator[Client]:
    """The owner of a server whose one model has a price in roubles and a small context."""
    shared_gateway.reset()
    shared_gateway.models = [PRICED]
    env = {"OPENAI_BASE_URL": shared_gateway.url, "OPENAI_API_KEY": "sk-test", "POTOK_DEMO": "0"}
    server = Server(tmp_path_factory.mktemp("priced"), env).start()
    owner = server.visitor().set_up()
    server.manage("shell", "-v0", "-c", IN_ROUBLES)
    until(lambda: "priced" in owner.get("/").text, "the model is listed")
    yield owner
    server.close()


PRICED = {"id": "priced", "object": "model", "context_length": 1000}
IN_ROUBLES = (
    "from chat.models import Gateway, Price; g = Gateway.objects.get(slug='openai');"
    "Price.objects.create(gateway=g, model='priced', currency='RUB', prompt=1000, completion=800)"
)


@pytest.mark.parametrize(("locale", "cost"), [("en", r"≈ RUB\s0\.\d+"), ("ru", r"≈ 0,\d+\s₽")])
def test_5_10_what_a_question_will_cost_is_said_before_it_is_sent(priced, open_page, cost, gateway):
    page = open_page(priced)
    live(page)
    expect(page.locator("#forecast")).to_be_hidden()
    text_field(page).fill("How are you?")
    expect(page.locator("#forecast")).to_have_text(re.compile(cost))
    expect(page.locator("#forecast meter")).to_have_count(0)
    text_field(page).fill("")
    expect(page.locator("#forecast")).to_be_hidden()
    assert gateway.calls == []


def test_5_10_a_forecast_is_asked_in_pauses_and_not_for_each_key(priced, open_page):
    page = open_page(priced)
    live(page)
    asked = []
    page.on("request", lambda request: "forecast" in request.url and asked.append(request.url))
    text_field(page).press_sequentially("Many keys are pressed here in a row.", delay=5)
    expect(page.locator("#forecast")).to_contain_text("≈")
    text_field(page).press_sequentially("!")
    text_field(page).fill(
        "Many keys are pressed here in a row, and then a good deal more is written."
    )
    with page.expect_response("**/forecast/"):
        pass
    assert len(asked) == 2


def test_5_10_near_the_limit_a_gauge_and_what_falls_out_are_shown(priced, open_page, gateway):
    page = open_page(priced)
    live(page)
    ask(page, "word " * 400)
    page.locator(ENDED).wait_for()
    expect(page.locator("#forecast")).to_be_hidden()
    text_field(page).fill("word " * 200)
    expect(page.locator("#forecast meter")).to_be_visible()
    expect(page.locator("#forecast")).to_contain_text("% of the context")
    expect(page.locator("#forecast strong")).to_have_count(0)
    text_field(page).fill("word " * 500)
    expect(page.locator("#forecast")).to_contain_text("The first 2 messages no longer fit.")
    text_field(page).fill("word " * 2000)
    expect(page.locator("#forecast")).to_contain_text("too long for the model's context")
    key = page.locator("#composer [name=client_key]").input_value()
    text_field(page).fill("word " * 500)
    expect(page.locator("#forecast")).to_contain_text("The first 2 messages no longer fit.")
    assert page.locator("#composer [name=client_key]").input_value() == key
    text_field(page).press("Enter")
    page.locator("article:nth-child(4)[data-status=complete]").wait_for()
    assert len(gateway.calls[-1].json["messages"]) == 1


def test_5_10_without_javascript_a_button_says_it_and_keeps_the_text(priced, open_page, gateway):
    page = open_page(priced, java_script_enabled=False)
    page.goto("/")
    text_field(page).fill("How are you?")
    page.get_by_role("button", name="What will it cost?").click()
    expect(page.locator("#forecast")).to_contain_text("≈ RUB")
    expect(text_field(page)).to_have_value("How are you?")
    assert gateway.calls == []


# --- 9: choosing a model ----------------------------------------------------------------------------


def test_5_9_the_picker_says_what_a_model_costs_and_holds(priced, open_page):
    page = open_page(priced)
    live(page)
    page.locator("#model").click()
    option = page.locator("#model-list [role=option]")
    expect(option).to_have_count(1)
    expect(option).to_contain_text("1K")
    expect(option).to_contain_text(re.compile(r"RUB\s1,000\.00 / RUB\s800\.00"))
    page.locator("#model").fill("pri")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    expect(page.locator("#model")).to_have_value("priced")
    expect(text_field(page)).to_be_focused()


def test_5_9_without_javascript_the_models_are_a_page_that_leads_to_a_chat(priced, open_page):
    page = open_page(priced, java_script_enabled=False)
    page.goto("/")
    page.get_by_role("link", name="All models").click()
    expect(page.locator("li")).to_contain_text("RUB")
    page.get_by_role("link", name="priced").click()
    expect(page.locator("#model")).to_have_value("priced")


def test_5_8_what_was_typed_into_a_change_outlives_escape(gateway, answered):
    words = answered.locator(".edit textarea")
    text_field(answered).press("ArrowUp")
    expect(words).to_be_focused()
    words.fill("A long and careful question")
    words.press("Escape")
    expect(words).to_have_count(0)
    answered.locator("[data-role=user] [name=edit]").click()
    expect(words).to_have_value("A long and careful question")
    gateway.reply("Second answer.")
    words.press("Enter")
    expect(answered.locator(ENDED)).to_contain_text("Second answer.")
    answered.locator("[data-role=user] [name=edit]").click()
    expect(words).to_have_value("A long and careful question")
    words.fill("A question")
    words.press("Escape")
    answered.locator("[name=branch-prev]").first.click()
    expect(answered.locator(ENDED)).to_contain_text("First answer.")
    answered.locator("[data-role=user] [name=edit]").click()
    expect(words).to_have_value("A question")


@pytest.fixture
def failed(gateway, owner) -> str:
    """A conversation whose reply failed: there another model is wanted most."""
    gateway.refuse(400, {"error": {"message": "no"}})
    conversation = owner.send("A question")
    owner.wait_for_reply(conversation, "failed")
    return conversation


def test_5_8_a_reply_is_asked_of_another_model_found_by_typing(failed, gateway, owner, page):
    page.goto(f"/c/{failed}/")
    page.locator("body[data-connection=live]").wait_for()
    page.locator("[name=regenerate-with]").click()
    field = page.get_by_role("combobox", name="Model").and_(page.locator("#another"))
    expect(field).to_be_focused()
    options = page.locator("#another-list [role=option]")
    everything = options.count()
    page.keyboard.type("DEMO-FA")
    expect(options).to_have_count(1)
    assert everything > 1
    page.keyboard.press("ArrowDown")
    expect(field).to_have_attribute("aria-activedescendant", options.get_attribute("id"))
    page.keyboard.press("Enter")
    expect(page.locator("#ask")).to_be_hidden()
    until(lambda: owner.last(failed)["model"] == "demo-fast", "another model is asked")
    assert owner.wait_for_reply(failed, "complete")["gateway"] == "demo"
    expect(page.locator(f"{REPLY} .versions")).to_contain_text("2/2")
    assert len(gateway.calls) == 1


def test_5_8_a_click_marks_a_model_and_escape_asks_nobody(failed, owner, page):
    page.goto(f"/c/{failed}/")
    page.locator("body[data-connection=live]").wait_for()
    page.locator("[name=regenerate-with]").click()
    option = page.locator("#another-list [role=option]").filter(has_text="demo-fast").first
    option.click()
    expect(page.locator("#another")).to_have_value("demo-fast")
    expect(option).to_have_attribute("aria-selected", "true")
    page.keyboard.press("Escape")
    expect(page.locator("#ask")).to_be_hidden()
    page.locator("[name=regenerate-with]").click()
    page.locator("#another-list [role=option]").filter(has_text="demo-fast").first.click()
    page.get_by_role("button", name="Ask", exact=True).click()
    until(lambda: owner.last(failed)["model"] == "demo-fast", "another model is asked")
    assert len(owner.export(failed)["messages"]) == 3


def test_5_8_without_javascript_another_model_is_picked_from_a_list(failed, owner, open_page):
    page = open_page(owner, java_script_enabled=False)
    page.goto(f"/c/{failed}/")
    page.locator("[name=regenerate-with]").click()
    page.get_by_role("listbox", name="Model").select_option("demo demo-fast")
    page.get_by_role("button", name="Ask", exact=True).click()
    until(lambda: owner.last(failed)["model"] == "demo-fast", "another model is asked")
    assert owner.wait_for_reply(failed, "complete")["gateway"] == "demo"
    page.reload()
    expect(page.locator(f"{REPLY} .versions")).to_contain_text("2/2")


def test_5_7_what_is_far_too_long_is_kept_and_said_to_be_so(page, complaints):
    """More than a request may hold, so that no view sees it."""
    complaints[0].allow("413")
    live(page)
    text_field(page).fill("слово " * 170_000)
    page.keyboard.press("Enter")
    expect(page.get_by_role("alert")).to_contain_text("too long to be sent")
    assert len(text_field(page).input_value()) == 1_020_000
