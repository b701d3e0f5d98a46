"""What gateways really answer instead of a stream, all the way to the reader."""

import re

from tests.recordings import Answer, answers, each
from tests.script import answer

FRAMING = ("content-length", "transfer-encoding", "content-encoding", "connection")


@each(answers())
def test_a_real_gateways_answer_is_told_to_the_reader(owner, gateway, case: Answer):
    headers = {name: text for name, text in case.headers.items() if name.lower() not in FRAMING}
    # A gateway that names a time is asked again then; not in this test's time.
    seconds = case.expected.get("retry_after")
    if seconds:
        headers = {name: "600" if name == "retry-after" else v for name, v in headers.items()}
    tries = 3 if case.expected["kind"] == "server" and not seconds else 1
    for _ in range(tries):
        gateway.script(*answer(case.status, case.body, headers))
    conversation = owner.send("Say hello")
    reply = owner.wait_for_reply(conversation)
    assert len(gateway.calls) == tries
    if case.expected["kind"] == "ok":
        assert (reply["status"], reply["text"]) == ("complete", case.expected["content"])
        assert reply["finish_reason"] == case.expected["finish_reason"]
        assert case.expected["usage"].items() <= reply["usage"].items()
        return
    assert (reply["status"], reply["error"]["kind"]) == ("failed", case.expected["kind"])
    message = case.expected["message"]
    page = owner.get(f"/c/{conversation}/").text
    assert f'data-part="error" data-kind="{case.expected["kind"]}"' in page
    assert "sk-test" not in page
    if message:
        assert message in reply["error"]["message"]
        assert re.search(r'<p class="said"', page)
    hidden = case.expected.get("must_not_show")
    if hidden:
        assert hidden not in reply["error"]["message"]
        assert page.count(hidden) == 0


def test_a_key_that_a_gateway_repeats_is_shown_to_nobody(server, owner, gateway):
    gateway.refuse(401, {"error": {"message": "The key sk-test is wrong"}})
    conversation = owner.send("Say hello")
    reply = owner.wait_for_reply(conversation, "failed")
    assert reply["error"]["kind"] == "auth"
    assert "sk-test" not in reply["error"]["message"]
    assert "sk-test" not in owner.get(f"/c/{conversation}/").text
    assert "sk-test" not in server.log


def test_a_redirect_is_not_followed(owner, gateway):
    """The key would go along."""
    gateway.refuse(302, "", {"Location": f"{gateway.url}/elsewhere"})
    reply = owner.wait_for_reply(owner.send("Say hello"), "failed")
    assert reply["error"]["kind"] == "protocol"
    assert [call.path for call in gateway.calls] == ["/v1/chat/completions"]
