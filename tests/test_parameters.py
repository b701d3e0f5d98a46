"""System prompt and parameters: what is asked for beside the messages, and that nothing else is."""

import pytest

from chat.models.parameters import Asked
from chat.page.parameters import ParametersForm

SET = {
    "system_prompt": "  Be brief.\r\n",
    "temperature": "0,7",
    "top_p": "1",
    "max_tokens": "1 000",
    "reasoning_effort": "low",
    "stop": "END\n\nStop here\n",
    "seed": "-5",
}
ASKED = {
    "temperature": 0.7,
    "top_p": 1.0,
    "max_tokens": 1000,
    "reasoning_effort": "low",
    "stop": ["END", "Stop here"],
    "seed": -5,
}


def beside(call) -> dict[str, object]:
    """What a request has that every one of ours hasn't."""
    usual = {"model", "messages", "stream", "stream_options"}
    return {name: value for name, value in call.json.items() if name not in usual}


def system(call) -> list[str]:
    return [m["content"] for m in call.json["messages"] if m["role"] == "system"]


# --- the form -----------------------------------------------------------------------------------


def test_what_is_set_has_the_types_of_the_wire_and_what_is_not_is_not_there():
    form = ParametersForm(SET)
    assert form.is_valid(), form.errors
    assert form.asked == Asked("Be brief.", ASKED)
    assert [type(form.asked.parameters[name]) for name in ("max_tokens", "top_p")] == [int, float]
    empty = ParametersForm({})
    assert empty.is_valid()
    assert empty.asked == Asked("", {})


def test_what_is_set_is_shown_and_taken_again_unchanged():
    shown = ParametersForm.of(Asked("Be brief.", ASKED))
    again = ParametersForm({name: shown[name].value() or "" for name in shown.fields})
    assert again.is_valid(), again.errors
    assert again.asked == Asked("Be brief.", ASKED)


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("temperature", "2.1", "Temperature: enter a number from 0 to 2."),
        ("temperature", "-0.1", "Temperature: enter a number from 0 to 2."),
        ("temperature", "warm", "Temperature: enter a number from 0 to 2."),
        ("temperature", "nan", "Temperature: enter a number from 0 to 2."),
        ("top_p", "1e9", "Top P: enter a number from 0 to 1."),
        ("max_tokens", "0", "Longest reply, tokens: enter a whole number from 1 to 10000000."),
        ("max_tokens", "1.5", "Longest reply, tokens: enter a whole number from 1 to 10000000."),
        ("stop", "\n".join("abcde"), "Stop at: at most 4 lines of 100 characters."),
        ("stop", "x" * 101, "Stop at: at most 4 lines of 100 characters."),
        ("system_prompt", "x" * 200_001, "at most 200000 characters fit."),
        ("reasoning_effort", "huge", "huge is not one of the available choices."),
    ],
)
def test_what_can_not_be_is_refused_with_the_bounds(name, value, sentence):
    form = ParametersForm({name: value})
    assert not form.is_valid()
    assert str(form.errors[name][0]).endswith(sentence)


# --- what goes to the gateway -------------------------------------------------------------------


def test_nothing_is_sent_that_was_not_set(gateway, owner):
    conversation = owner.send("Hello")
    owner.wait_for_reply(conversation, "complete")
    assert (beside(gateway.calls[-1]), system(gateway.calls[-1])) == ({}, [])


def test_a_conversation_asks_with_what_is_set_from_the_next_question_on(gateway, owner):
    conversation = owner.send("One")
    owner.wait_for_reply(conversation, "complete")
    address = f"/c/{conversation}/parameters/"
    assert owner.post(address, SET).headers["Location"] == f"/c/{conversation}/"
    page = owner.get(address)
    assert 'value="0.7"' in page.text
    assert "Be brief." in page.text
    owner.send("Two", conversation)
    owner.wait_for_reply(conversation, "complete")
    assert (beside(gateway.calls[-1]), system(gateway.calls[-1])) == (ASKED, ["Be brief."])
    assert gateway.calls[-1].json["messages"][0]["role"] == "system"

    assert owner.post(address, {}).status_code == 303
    reply = owner.last(conversation)["id"]
    owner.post(f"/m/{reply}/regenerate/")
    owner.wait_for_reply(conversation, "complete")
    assert (beside(gateway.calls[-1]), system(gateway.calls[-1])) == ({}, [])


def test_a_new_conversation_begins_with_my_defaults_and_keeps_them(gateway, server):
    ann = server.add_user("ann-of-defaults")
    assert ann.post("/parameters/", {"temperature": "1.5"}).headers["Location"].endswith("?saved")
    conversation = ann.send("One")
    ann.wait_for_reply(conversation, "complete")
    assert beside(gateway.calls[-1]) == {"temperature": 1.5}
    ann.post("/parameters/", {"temperature": "0.5"})
    ann.send("Two", conversation)
    ann.wait_for_reply(conversation, "complete")
    assert beside(gateway.calls[-1]) == {"temperature": 1.5}


def test_a_first_question_may_ask_for_something_else_than_the_defaults(gateway, server):
    ben = server.add_user("ben-of-defaults")
    ben.post("/parameters/", {"temperature": "1.5", "seed": "1"})
    conversation = ben.send("One", asked="1", temperature="0.2")
    ben.wait_for_reply(conversation, "complete")
    assert beside(gateway.calls[-1]) == {"temperature": 0.2}
    plain = ben.send("One", asked="1")
    ben.wait_for_reply(plain, "complete")
    assert beside(gateway.calls[-1]) == {}


def test_a_first_question_with_a_parameter_that_can_not_be_is_refused_and_kept(gateway, owner):
    refused = owner.post("/messages/", {"text": "Keep me", "asked": "1", "temperature": "9"})
    assert refused.status_code == 422
    assert "Temperature: enter a number from 0 to 2." in refused.text
    assert "Keep me" in refused.text
    assert gateway.calls == []


@pytest.mark.parametrize("htmx", [True, False])
def test_a_refused_form_keeps_what_was_typed_and_says_what_is_wrong(gateway, owner, htmx):
    conversation = owner.send("One")
    owner.wait_for_reply(conversation, "complete")
    fields = {"system_prompt": "Keep <me>", "temperature": "9"}
    for address in (f"/c/{conversation}/parameters/", "/parameters/"):
        refused = owner.post(address, fields, htmx=htmx)
        assert refused.status_code == 422
        assert "Temperature: enter a number from 0 to 2." in refused.text
        assert "Keep &lt;me&gt;" in refused.text
    owner.send("Two", conversation)
    owner.wait_for_reply(conversation, "complete")
    assert (beside(gateway.calls[-1]), system(gateway.calls[-1])) == ({}, [])


# --- the budget ---------------------------------------------------------------------------------


def test_the_system_prompt_counts_and_stays_when_old_turns_no_longer_fit(start_server, gateway):
    gateway.models = [{"id": "small", "object": "model", "context_length": 400}]
    owner = start_server(POTOK_DEMO="0").visitor().set_up()
    words = {"asked": "1", "system_prompt": "system " * 120, "max_tokens": "50"}
    conversation = owner.send("first " * 100, **words)
    owner.wait_for_reply(conversation, "complete")
    owner.send("second " * 150, conversation)
    owner.wait_for_reply(conversation, "complete")
    sent = gateway.calls[-1].json["messages"]
    assert [m["content"].split()[0] for m in sent] == ["system", "second"]
    owner.send("third " * 300, conversation)
    reply = owner.wait_for_reply(conversation, "failed")
    assert reply["error"]["kind"] == "bad_request"
