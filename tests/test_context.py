"""A prompt stays within the context that a gateway says its model has."""

from tests.waiting import until


def test_old_turns_are_left_out_and_a_question_too_long_is_refused_with_a_reason(
    start_server, gateway
):
    gateway.models = [{"id": "small", "object": "model", "context_length": 400}]
    server = start_server(POTOK_DEMO="0")
    owner = server.visitor().set_up()
    until(lambda: "small" in owner.get("/").text, "the model is listed")

    conversation = owner.send("first " * 150)
    owner.wait_for_reply(conversation, "complete")
    owner.send("second " * 150, conversation)
    owner.wait_for_reply(conversation, "complete")
    sent = gateway.calls[-1].json["messages"]
    assert sent[-1]["content"].startswith("second")
    assert not any(message["content"].startswith("first") for message in sent)

    owner.send("third " * 2000, conversation)
    reply = owner.wait_for_reply(conversation, "failed")
    assert reply["error"]["kind"] == "bad_request"
    assert "too long for this model" in owner.get(f"/c/{conversation}/").text
    assert len(gateway.calls) == 2
