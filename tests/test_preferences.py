"""The settings of a person: what each one changes, for whom, and that they log out everywhere."""

import re

import pytest
from playwright.sync_api import Page, expect

from tests.server import Client

DARK, LIGHT = "oklch(0.2 0.007 170)", "oklch(0.985 0.003 170)"


@pytest.fixture(scope="module")
def shared_person(shared_server, shared_owner) -> Client:
    return shared_server.add_user("person")


@pytest.fixture
def person(server, shared_person) -> Client:
    """Somebody whose settings nobody else reads by, all of them as they were at first."""
    assert save(shared_person).status_code == 303
    return shared_person


def save(client: Client, **fields: str):
    """Submit the form as a browser does, all of it; what isn't said is left to the device."""
    left = dict.fromkeys(("theme", "language", "time_zone", "default_model"), "")
    return client.post("/settings/", left | fields)


def background(page: Page) -> str:
    return str(page.locator("html").evaluate("e => getComputedStyle(e).backgroundColor"))


def test_a_language_rules_over_the_browsers(person):
    assert '<html lang="en"' in person.get("/").text
    assert save(person, language="ru").headers["Location"] == "/settings/?saved"
    page = person.get("/settings/?saved").text
    assert '<html lang="ru"' in page
    assert "Сохранено" in page
    assert person.get("/").headers["Content-Language"] == "ru"


def test_settings_are_one_persons_alone(person, owner):
    save(person, language="ru", theme="dark", default_model="gpt-mine")
    page = owner.get("/").text
    assert '<html lang="en"' in page
    assert '<meta name="color-scheme" content="light dark">' in page
    assert "gpt-mine" not in page


def test_the_key_that_sends_is_chosen(person):
    assert 'data-enter="breaks"' not in person.get("/").text
    save(person, enter_sends="0")
    assert 'data-enter="breaks"' in person.get("/").text
    chosen = re.search(r'value="0"[^>]*checked', person.get("/settings/").text)
    assert chosen
    save(person, enter_sends="1")
    assert 'data-enter="breaks"' not in person.get("/").text


def test_a_new_chat_begins_with_the_chosen_model_and_a_conversation_keeps_its_own(person, gateway):
    other = person.send("Say hello", model="other")
    person.wait_for_reply(other)
    save(person, default_model="favourite")
    assert re.search(r'id="model" name="model" value="favourite"', person.get("/").text)
    assert re.search(r'id="model" name="model" value="third"', person.get("/?model=third").text)
    assert re.search(r'id="model" name="model" value="other"', person.get(f"/c/{other}/").text)


@pytest.mark.parametrize(
    "fields",
    [
        {"theme": "purple"},
        {"language": "xx"},
        {"time_zone": "Moon/Sea_of_Tranquility"},
        {"default_model": "x" * 201},
        {"default_model": "two\u2028lines"},
    ],
)
def test_what_is_not_offered_is_refused_and_changes_nothing(person, fields):
    save(person, theme="dark", time_zone="Europe/Moscow")
    answer = save(person, **fields)
    assert answer.status_code == 422
    assert 'class="field-error"' in answer.text
    page = person.get("/settings/").text
    assert '<meta name="color-scheme" content="dark">' in page
    assert '<option value="Europe/Moscow" selected>' in page


def test_logging_out_everywhere_ends_every_session_and_its_socket(person, server):
    elsewhere = server.visitor().log_in("person")
    assert elsewhere.get("/").status_code == 200
    with elsewhere.socket() as socket:
        answer = person.post("/settings/log-out/")
        assert (answer.status_code, answer.headers["Location"]) == (302, "/login/")
        assert socket.wait_closed() == 4401
    assert elsewhere.get("/").status_code == 302
    assert person.get("/").status_code == 302
    assert person.log_in("person").get("/").status_code == 200


@pytest.mark.parametrize(("theme", "colour"), [("dark", DARK), ("light", LIGHT)])
def test_a_theme_rules_over_the_devices_on_every_page(person, open_page, theme, colour):
    against = "light" if theme == "dark" else "dark"
    page = open_page(person, color_scheme=against)
    page.goto("/settings/")
    assert background(page) != colour
    page.locator(f"[name=theme][value={theme}]").check()
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("status")).to_have_text("Saved.")
    for path in ("/settings/", "/", "/password/"):
        page.goto(path)
        assert background(page) == colour, path
    page.goto("/")
    page.locator(".account-button").click()
    page.get_by_role("button", name="Log out").click()
    # The login page knows nobody, and yet is what it was before the logout.
    page.wait_for_url("**/login/")
    assert background(page) == colour
    person.log_in("person")


def test_settings_work_by_keyboard_and_without_javascript(person, open_page):
    page = open_page(person, java_script_enabled=False)
    page.goto("/")
    page.locator(".account-button").press("Enter")
    page.get_by_role("link", name="Settings").press("Enter")
    page.locator("[name=theme]:checked").press("ArrowRight")
    page.get_by_label("Language").select_option("ru")
    page.get_by_label("Model for new chats").fill("my-model")
    page.get_by_label("Model for new chats").press("Enter")
    expect(page.get_by_role("status")).to_have_text("Сохранено.")
    expect(page.locator("[name=theme][value=light]")).to_be_checked()
    expect(page.locator("[name=default_model]")).to_have_value("my-model")
