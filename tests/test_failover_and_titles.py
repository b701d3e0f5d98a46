"""A gateway that stands in for another, titles that a model writes, and waits that are counted down."""

import re

import pytest

from tests.gateway import Gateway
from tests.script import Drop
from tests.waiting import until

TITLED = {
    "choices": [{"message": {"role": "assistant", "content": '"Небо и свет."\n'}}],
    "usage": {"prompt_tokens": 50, "completion_tokens": 5, "total_tokens": 55},
}


@pytest.fixture
def second():
    with Gateway() as gateway:
        gateway.models = [{"id": "shared", "object": "model"}]
        yield gateway


@pytest.fixture
def two(start_server, gateway, second):
    """A server whose gateways `openai` and, behind it, `aitunnel` both list the model `shared`."""
    gateway.models = [{"id": "shared", "object": "model"}]
    server = start_server(
        AITUNNEL_API_KEY="sk-second", AITUNNEL_BASE_URL=second.url, POTOK_DEMO="0"
    )
    owner = server.visitor().set_up()
    until(lambda: owner.get("/").text.count('value="shared"') == 2, "both list the model")
    return owner


def test_another_gateway_answers_where_the_first_could_not_begin(two, gateway, second):
    gateway.refuse(503, {"error": {"message": "overloaded"}})
    second.reply("From the second.", usage={"prompt_tokens": 3, "completion_tokens": 4})
    conversation = two.send("Hello", model="shared")
    reply = two.wait_for_reply(conversation, "complete")
    assert (reply["text"], reply["gateway"]) == ("From the second.", "aitunnel")
    assert (reply["usage"]["prompt_tokens"], reply["usage"]["completion_tokens"]) == (3, 4)
    assert (len(gateway.calls), len(second.calls)) == (1, 1)
    assert second.calls[0].headers["authorization"] == "Bearer sk-second"


def test_nothing_is_asked_twice_once_a_reader_has_seen_a_word(two, gateway, second):
    gateway.reply("One word", Drop())
    conversation = two.send("Hello", model="shared")
    reply = two.wait_for_reply(conversation, "interrupted")
    assert (reply["text"], reply["gateway"]) == ("One word", "openai")
    assert second.calls == []


def test_a_request_that_cannot_be_fulfilled_is_not_carried_elsewhere(two, gateway, second):
    gateway.refuse(400, {"error": {"message": "no such parameter"}})
    conversation = two.send("Hello", model="shared")
    assert two.wait_for_reply(conversation, "failed")["error"]["kind"] == "bad_request"
    assert second.calls == []


TITLE_MODEL = (
    "from chat.models import LanguageModel;"
    "LanguageModel.objects.filter(name='test-model').update(is_title_model=True)"
)


@pytest.fixture
def titling(fresh_server):
    owner = fresh_server.visitor().set_up()
    until(lambda: "test-model" in owner.get("/").text, "the model is listed")
    fresh_server.manage("shell", "-v0", "-c", TITLE_MODEL)
    return owner


def title_of(owner, conversation: str) -> str:
    return owner.export(conversation)["title"]


def test_a_title_model_names_a_conversation_once_and_is_counted_apart(titling, gateway):
    gateway.reply("Свет рассеивается.", when=lambda call: call.json.get("stream"))
    gateway.refuse(200, TITLED)
    conversation = titling.send("Почему небо синее?")
    reply = titling.wait_for_reply(conversation, "complete")
    until(lambda: title_of(titling, conversation) == "Небо и свет", "the title is there")
    asked = gateway.calls[-1].json
    assert "stream" not in asked
    assert "Почему небо синее?" in asked["messages"][-1]["content"]
    assert titling.last(conversation)["usage"] == reply["usage"]

    titling.send("А закат?", conversation)
    titling.wait_for_reply(conversation, "complete")
    assert len(gateway.calls) == 3


def test_what_a_title_took_is_in_the_conversations_total(titling, gateway):
    used = {"prompt_tokens": 1000, "completion_tokens": 45, "total_tokens": 1045}
    gateway.reply("Scattered.", usage=used, when=lambda call: call.json.get("stream"))
    gateway.refuse(200, TITLED)
    conversation = titling.send("Why is the sky blue?")
    titling.wait_for_reply(conversation, "complete")
    until(lambda: title_of(titling, conversation) == "Небо и свет", "the title is there")
    page = titling.get(f"/c/{conversation}/").text
    assert "1,100 tokens" in re.search(r'<p id="total".*?</p>', page, re.DOTALL)[0]
    assert titling.last(conversation)["usage"]["total_tokens"] == 1045


def test_a_title_model_that_refuses_a_parameter_is_asked_without_it_from_then_on(titling, gateway):
    gateway.reply("Light is scattered.", when=lambda call: call.json.get("stream"))
    gateway.refuse(400, {"error": {"code": "unsupported_parameter", "param": "max_tokens"}})
    gateway.refuse(200, TITLED)
    conversation = titling.send("Why is the sky blue?")
    titling.wait_for_reply(conversation, "complete")
    until(lambda: title_of(titling, conversation) == "Небо и свет", "the title is there")

    gateway.reply("Of water.", when=lambda call: call.json.get("stream"))
    gateway.refuse(200, TITLED)
    another = titling.send("And the sea?")
    titling.wait_for_reply(another, "complete")
    until(lambda: title_of(titling, another) == "Небо и свет", "the second title is there")
    asked = [call.json for call in gateway.calls if not call.json.get("stream")]
    limits = [(each.get("max_tokens"), each.get("max_completion_tokens")) for each in asked]
    assert limits == [(40, None), (None, 40), (None, 40)]


def test_a_title_of_ones_own_is_never_overwritten(titling, gateway):
    gate = gateway.gate()
    gateway.reply("Light is scattered.", gate, when=lambda call: call.json.get("stream"))
    conversation = titling.send("Why is the sky blue?")
    titling.post(f"/c/{conversation}/rename/", {"title": "Mine"})
    gate.open()
    titling.wait_for_reply(conversation, "complete")
    titling.wait_for_reply(titling.send("Another"), "complete")
    assert title_of(titling, conversation) == "Mine"


def test_a_rate_limit_is_counted_down(owner, gateway):
    gateway.refuse(429, {"error": {"message": "slow down"}}, headers={"Retry-After": "90"})
    conversation = owner.send("Hello")
    owner.wait_for_reply(conversation, "failed")
    page = owner.get(f"/c/{conversation}/").text
    assert re.search(
        r'Try again <elapsed-time data-until="\d{13}">in 90 seconds</elapsed-time>', page
    )
