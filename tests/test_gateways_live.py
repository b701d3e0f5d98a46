"""Gateways and models as administrators manage them, at a running server."""

import json
import re

import pytest
from playwright.sync_api import expect

from tests.gateway import Gateway
from tests.script import usage_of
from tests.waiting import until

FORM = {
    "name": "Second",
    "slug": "second",
    "headers": json.dumps({"X-Team": "research"}),
    "currency": "RUB",
    "slots": "10",
    "position": "5",
    "enabled": "on",
    "stands_in": "on",
    "takes_any_model": "on",
    "continuation": "request",
}
KEY = "sk-entered-by-hand-2b1c"


@pytest.fixture
def owner(fresh_server):
    return fresh_server.visitor().set_up()


@pytest.fixture
def second():
    with Gateway() as gateway:
        gateway.models = [{"id": "second-model"}]
        yield gateway
        assert gateway.failures == []


def enter(owner, second, **fields):
    """Add the second gateway; its page's address."""
    owner.get("/admin/chat/gateway/add/")
    form = FORM | {"base_url": second.url, "key": KEY} | fields
    answer = owner.post("/admin/chat/gateway/add/", form)
    assert answer.status_code == 302, answer.text
    return answer.headers["Location"]


def model_page(owner, name):
    page = owner.get(f"/admin/chat/languagemodel/?q={name}").text
    found = re.search(r'href="(/admin/chat/languagemodel/\d+/change/)', page)
    assert found, f"{name} is not listed"
    return found[1]


def is_offered(person, name):
    return f'<option value="{name}"' in person.get("/").text


def test_a_gateway_that_is_entered_is_listed_at_once_and_answers(owner, second):
    enter(owner, second, is_private_allowed="on")
    until(lambda: is_offered(owner, "second-model"), "its model is offered")
    second.reply("From the second.", usage=usage_of(3, 2))
    conversation = owner.send("Hello", model="second-model")
    assert owner.wait_for_reply(conversation, "complete")["text"] == "From the second."
    sent = second.calls[0].headers
    assert (sent["authorization"], sent["x-team"]) == (f"Bearer {KEY}", "research")
    assert owner.last(conversation)["gateway"] == "second"
    assert KEY not in owner.server.log
    stored = owner.server.stored()
    assert b"second-model" in stored, "the right place was searched"
    assert KEY.encode() not in stored


def test_a_key_outlives_a_rotation_under_a_running_server(owner, second):
    enter(owner, second, is_private_allowed="on")
    assert "1 keys are sealed" in owner.server.manage("rotate_keys")
    conversation = owner.send("Hello", model="second-model", gateway="second")
    owner.wait_for_reply(conversation, "complete")
    assert second.calls[0].headers["authorization"] == f"Bearer {KEY}"


def test_a_gateway_in_a_private_network_is_not_asked_unless_that_is_allowed(owner, second):
    place = enter(owner, second)
    conversation = owner.send("Hello", model="m", gateway="second")
    error = owner.wait_for_reply(conversation, "failed")["error"]
    assert error["kind"] == "connection"
    assert owner.post(place.replace("change", "check")).status_code == 302
    assert "private network" in owner.get(place).text
    assert second.requests == []


def test_check_works_where_people_use_it(owner, second):
    place = enter(owner, second, is_private_allowed="on")
    second.reply("Hi", usage=usage_of(8, 1))
    assert owner.post(place.replace("change", "check")).status_code == 302
    page = owner.get(place).text
    assert "1 model listed in" in page
    assert "One token from second-model in" in page
    assert "check" in owner.get("/admin/chat/call/").text


def test_a_reply_that_waits_is_not_made_once_its_model_is_closed_to_the_person(owner, gateway):
    gateway.models = [{"id": "dear"}]
    listed = owner.get("/admin/chat/gateway/").text
    place = re.search(r"/admin/chat/gateway/\d+/change/", listed)
    assert place
    assert owner.post(place[0].replace("change", "list")).status_code == 302
    member = owner.server.add_user("member")
    assert is_offered(member, "dear")
    gate = gateway.gate()
    gateway.reply("Begun, ", gate, "ended.")
    conversation = member.send("First", model="dear")
    gate.wait_reached()
    member.send("Second", conversation, model="dear")
    groups = owner.get(model_page(owner, "dear")).text
    reviewers = re.search(r'name="groups" value="(\d+)"[^>]*>\s*reviewer', groups)
    assert reviewers
    changed = owner.post(model_page(owner, "dear"), {"groups": reviewers[1]})
    assert changed.status_code == 302
    gate.open()
    error = member.wait_for_reply(conversation, "failed")["error"]
    assert error["kind"] == "bad_request"
    assert "open to you" in member.get(f"/c/{conversation}/").text
    assert len(gateway.calls) == 1
    # It isn't offered any more, and whoever types it is told.
    assert not is_offered(member, "dear")
    assert member.post("/messages/", {"text": "Third", "model": "dear"}).status_code == 422


def test_5_9_the_star_keeps_a_model_at_the_head_of_the_list(owner, open_page, gateway, complaints):
    gateway.models = [{"id": f"model-{name}"} for name in "abc"]
    listed = re.search(r"/admin/chat/gateway/\d+/change/", owner.get("/admin/chat/gateway/").text)
    assert listed
    owner.post(listed[0].replace("change", "list"))
    page = open_page(owner)
    page.goto("/")
    star, field = page.locator("[name=keep]"), page.locator("#model")
    expect(star).to_be_hidden()
    field.fill("model-c")
    field.press("Enter")
    expect(star).to_have_attribute("aria-pressed", "false")
    star.click()
    expect(star).to_have_attribute("aria-pressed", "true")
    field.fill("")
    field.click()
    first = page.locator("#model-list [role=group]").first
    expect(first).to_have_attribute("aria-label", "Favourites")
    expect(first.locator("[role=option]")).to_have_text(["model-c"])
    page.reload()
    page.locator("#model").click()
    page.locator("#model-list [role=option]").first.click()
    expect(page.locator("#model")).to_have_value("model-c")
    expect(star).to_have_attribute("aria-pressed", "true")
    star.press("Enter")
    expect(star).to_have_attribute("aria-pressed", "false")
    page.locator("#model").click()
    expect(first).not_to_have_attribute("aria-label", "Favourites")


# --- a reply that was cut -----------------------------------------------------------------------

PREFILLED = {
    "prefill": ({}, {}),
    "prefix": ({}, {"prefix": True}),
    "final": ({"continue_final_message": True, "add_generation_prompt": False}, {}),
}


def go_on(owner, conversation):
    """Have the last reply, which was cut after 'Once upon', continued to its end."""
    reply = owner.wait_for_reply(conversation, "complete")
    owner.post(f"/m/{reply['id']}/continue/")
    until(lambda: owner.last(conversation)["text"] == "Once upon a time.", "the whole reply")


@pytest.mark.parametrize("way", PREFILLED)
def test_a_reply_is_continued_from_its_beginning_where_the_gateway_takes_one(owner, second, way):
    enter(owner, second, continuation=way, is_private_allowed="on")
    second.reply("Once upon", finish="length")
    second.reply(" a time.")
    go_on(owner, owner.send("A story", gateway="second", model="second-model"))
    asked = second.wait_for_request(2).json
    of_request, of_message = PREFILLED[way]
    beginning = {"role": "assistant", "content": "Once upon"} | of_message
    assert asked["messages"] == [{"role": "user", "content": "A story"}, beginning]
    assert of_request.items() <= asked.items()


def test_a_model_that_refuses_a_beginning_is_asked_to_go_on(owner, second):
    enter(owner, second, continuation="prefill", is_private_allowed="on")
    second.reply("Once upon", finish="length")
    second.refuse(400, {"error": {"message": "This model does not support message prefill."}})
    second.reply(" a time.")
    go_on(owner, owner.send("A story", gateway="second", model="second-model"))
    asked = [second.wait_for_request(n).json["messages"][-1]["role"] for n in (2, 3)]
    assert asked == ["assistant", "user"]
