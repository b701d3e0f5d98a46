"""A reader's thumb and comment, in every tab alike; what is new is to be reviewed anew."""

import re

import pytest
from playwright.sync_api import expect


@pytest.fixture
def reply(owner, gateway):
    gateway.reply("An answer to rate")
    conversation = owner.send("Say something")
    message = owner.wait_for_reply(conversation, "complete")
    return conversation, message["id"]


def pressed(page_text, message):
    article = re.search(rf'<article\s+id="m-{message}".*?</article>', page_text, re.S)
    assert article
    buttons = re.findall(r'name="rating" value="(-?\d)"[^>]*aria-pressed="(\w+)"', article[0])
    assert len(buttons) == 2
    return [state for _value, state in buttons]


def test_a_thumb_is_given_turned_and_taken_back(owner, reply):
    conversation, message = reply
    for rating, states in [
        ("1", ["true", "false"]),
        ("-1", ["false", "true"]),
        ("0", ["false"] * 2),
    ]:
        answer = owner.post(f"/m/{message}/feedback/", {"rating": rating}, htmx=True)
        assert answer.status_code == 200
        assert pressed(answer.text, message) == states
        assert pressed(owner.get(f"/c/{conversation}/").text, message) == states


def test_a_comment_stays_with_its_thumb(owner, reply):
    _conversation, message = reply
    said = {"rating": "-1", "comment": "It is <wrong>"}
    assert owner.post(f"/m/{message}/feedback/", said).status_code == 303
    assert "It is &lt;wrong&gt;" in owner.get(f"/m/{message}/feedback/").text
    owner.post(f"/m/{message}/feedback/", {"rating": "1"})
    assert "It is &lt;wrong&gt;" in owner.get(f"/m/{message}/feedback/").text


@pytest.mark.parametrize(
    "form", [{}, {"rating": "5"}, {"rating": "x"}, {"rating": "1", "comment": "x" * 2001}]
)
def test_what_is_no_rating_is_refused(owner, reply, form):
    assert owner.post(f"/m/{reply[1]}/feedback/", form, htmx=True).status_code == 422
    assert pressed(owner.get(f"/c/{reply[0]}/").text, reply[1]) == ["false", "false"]


def test_a_question_and_a_running_reply_take_no_rating(owner, gateway):
    gate = gateway.gate()
    gateway.reply("One ", gate, "two")
    conversation = owner.send("Say something")
    gate.wait_reached()
    question, reply = (owner.export(conversation)["messages"][n]["id"] for n in (0, 1))
    for message in (question, reply):
        answer = owner.post(f"/m/{message}/feedback/", {"rating": "1"}, htmx=True)
        assert answer.status_code == 409
    gate.open()
    owner.wait_for_reply(conversation, "complete")


def test_a_thumb_in_one_tab_is_seen_in_the_other(open_page, owner, reply):
    conversation, message = reply
    one, other = open_page(owner), open_page(owner)
    for page in (one, other):
        page.goto(f"/c/{conversation}/")
        page.locator("body[data-connection=live]").wait_for()
    one.locator(f"#m-{message}").hover()
    one.get_by_role("button", name="Bad reply").click()
    for page in (one, other):
        expect(page.get_by_role("button", name="Bad reply")).to_have_attribute(
            "aria-pressed", "true"
        )
    one.get_by_role("button", name="Add a comment").click()
    one.locator(".feedback textarea").fill("Not a word of it is so")
    one.locator(".feedback [name=save]").click()
    expect(other.get_by_role("button", name="Your comment")).to_be_visible()
    # What changed under way is what a fresh load shows.
    grown = other.locator("#messages").evaluate("e => e.outerHTML")
    other.reload()
    other.locator("body[data-connection=live]").wait_for()
    assert other.locator("#messages").evaluate("e => e.outerHTML") == grown
