"""Replies, from the request that the gateway gets to the row that stays."""

import time

import pytest

from tests.gateway import Gateway
from tests.script import DONE, Drop, Every, Hang, Head, Reasoning, answer, chunk, event, usage_chunk
from tests.waiting import until

UNKNOWN = {
    "prompt_tokens": None,
    "completion_tokens": None,
    "total_tokens": None,
    "cached_tokens": None,
    "reasoning_tokens": None,
    "confidence": "unknown",
    "cost": None,
    "currency": None,
    "cost_confidence": "unknown",
}


def reply_to(owner, text="Say hello", deadline_s=20):
    """The reply to a first question, ended."""
    return owner.wait_for_reply(owner.send(text), deadline_s=deadline_s)


# --- the request --------------------------------------------------------------------------------


def test_the_request_is_what_every_gateway_takes(owner, gateway):
    reply_to(owner)
    call = gateway.wait_for_request()
    assert (call.method, call.path) == ("POST", "/v1/chat/completions")
    assert call.headers["authorization"] == "Bearer sk-test"
    assert call.headers["content-type"] == "application/json"
    assert call.json == {
        "model": "test-model",
        "messages": [{"role": "user", "content": "Say hello"}],
        "stream": True,
        "stream_options": {"include_usage": True},
    }


def test_the_request_has_the_branch_and_nothing_else(owner, gateway):
    gateway.reply(Reasoning("hm"), "eins")
    conversation = owner.send("one")
    first = owner.wait_for_reply(conversation, "complete")
    owner.send("two", conversation)
    owner.wait_for_reply(conversation, "complete")
    assert gateway.wait_for_request(2).json["messages"] == [
        {"role": "user", "content": "one"},
        {"role": "assistant", "content": "eins"},
        {"role": "user", "content": "two"},
    ]
    owner.post(f"/m/{first['parent']}/edit/", {"text": "uno"})
    owner.wait_for_reply(conversation, "complete")
    assert gateway.wait_for_request(3).json["messages"] == [{"role": "user", "content": "uno"}]


def test_a_failed_reply_is_not_sent_along(owner, gateway):
    gateway.refuse(400, {"error": {"message": "no"}})
    conversation = owner.send("one")
    owner.wait_for_reply(conversation, "failed")
    owner.send("two", conversation)
    owner.wait_for_reply(conversation, "complete")
    asked = gateway.wait_for_request(2).json["messages"]
    assert [(m["role"], m["content"]) for m in asked] == [("user", "one\n\ntwo")]


def test_a_continued_reply_is_one_text(owner, gateway):
    gateway.reply("Once upon", finish="length", usage=usage(10, 2))
    gateway.reply(" a time.", usage=usage(20, 3))
    conversation = owner.send("A story")
    reply = owner.wait_for_reply(conversation, "complete")
    assert reply["finish_reason"] == "length"
    assert 'name="continue"' in owner.get(f"/c/{conversation}/").text
    owner.post(f"/m/{reply['id']}/continue/")
    done = until(
        lambda: (last := owner.last(conversation))["finish_reason"] == "stop" and last, "its end"
    )
    assert (done["id"], done["text"], done["status"]) == (
        reply["id"],
        "Once upon a time.",
        "complete",
    )
    asked = gateway.wait_for_request(2).json["messages"]
    assert [m["role"] for m in asked] == ["user", "assistant", "user"]
    assert asked[1]["content"] == "Once upon"
    assert (done["usage"]["prompt_tokens"], done["usage"]["completion_tokens"]) == (30, 5)


def usage(prompt, completion, **more):
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
        **more,
    }


# --- usage --------------------------------------------------------------------------------------


def test_usage_is_stored_as_the_gateway_gave_it(server, owner, gateway):
    said = usage(
        11,
        7,
        prompt_tokens_details={"cached_tokens": 5},
        completion_tokens_details={"reasoning_tokens": 3},
        cost=0.0000125,
        unheard_of="kept",
    )
    gateway.reply("Hello", usage=said)
    reply = reply_to(owner)
    assert reply["usage"] == {
        "prompt_tokens": 11,
        "completion_tokens": 7,
        "total_tokens": 18,
        "cached_tokens": 5,
        "reasoning_tokens": 3,
        "confidence": "exact",
        "cost": "0.0000125",
        "currency": "USD",
        "cost_confidence": "exact",
    }
    query = "import json; print(json.dumps(Call.objects.latest('id').usage))"
    assert "unheard_of" in server.manage(
        "shell", "-v0", "-c", f"from chat.models import Call; {query}"
    )


def test_usage_that_nobody_gave_is_unknown_and_not_nothing(owner, gateway):
    gateway.reply("Hello")
    conversation = owner.send("Say hello")
    reply = owner.wait_for_reply(conversation, "complete")
    assert reply["usage"] == UNKNOWN
    page = owner.get(f"/c/{conversation}/").text
    assert 'data-confidence="unknown"' in page
    assert "data-prompt-tokens" not in page


def test_usage_on_every_chunk_is_not_added_up(owner, gateway):
    gateway.script(
        *[chunk({"content": "x"}, usage=usage(5, n)) for n in (1, 2, 3)],
        chunk({}, "stop", usage=usage(5, 4)),
        DONE,
    )
    assert reply_to(owner)["usage"]["completion_tokens"] == 4


@pytest.mark.parametrize("absurd", [-1, 10**9 + 1, 1.5, "seven", True, 2**70])
def test_an_absurd_figure_is_unknown(owner, gateway, absurd):
    gateway.reply("Hello", usage={"prompt_tokens": 3, "completion_tokens": absurd})
    reply = reply_to(owner)
    assert reply["status"] == "complete"
    assert (reply["usage"]["prompt_tokens"], reply["usage"]["completion_tokens"]) == (3, None)


# --- how a reply ends ---------------------------------------------------------------------------

HALF = chunk({"content": "half"})
ERROR = event({"error": {"message": "The upstream is on fire", "code": 500}})
TOOLS = chunk({"tool_calls": [{"index": 0, "function": {"name": "f", "arguments": "{}"}}]})
ENDINGS = {
    "stop": ([HALF, chunk({}, "stop"), DONE], "complete", None),
    "another word": ([HALF, chunk({}, "because"), DONE], "complete", None),
    "done without finish": ([HALF, DONE], "complete", None),
    "finish without done": ([HALF, chunk({}, "stop")], "complete", None),
    "length": ([HALF, chunk({}, "length"), DONE], "complete", None),
    "content_filter": ([HALF, chunk({}, "content_filter"), DONE], "complete", None),
    "reasoning only": ([Reasoning("hm"), chunk({}, "stop"), DONE], "complete", None),
    "refusal": ([chunk({"refusal": "half"}), chunk({}, "stop"), DONE], "complete", None),
    "nothing": ([chunk({}, "stop"), DONE], "failed", "empty"),
    "tools": ([TOOLS, chunk({}, "tool_calls"), DONE], "failed", "tool_calls"),
    "error first": ([ERROR, DONE], "failed", "server"),
    "error later": ([HALF, ERROR], "failed", "server"),
    "error after the finish": ([HALF, chunk({}, "stop"), ERROR, DONE], "failed", "server"),
    "error as a finish": ([HALF, chunk({}, "error"), DONE], "failed", "server"),
    "cut": ([HALF], "interrupted", "connection"),
    "dropped": ([HALF, Drop()], "interrupted", "connection"),
    "reset": ([HALF, Drop(reset=True)], "interrupted", "connection"),
    "garbage": ([b"data: {nonsense\n\n", DONE], "failed", "protocol"),
    "html": (answer(200, b"<html>hi</html>", {"Content-Type": "text/html"}), "failed", "protocol"),
}


@pytest.mark.parametrize("case", ENDINGS)
def test_how_a_reply_ends(owner, gateway, case):
    steps, status, kind = ENDINGS[case]
    gateway.script(*steps)
    conversation = owner.send("Say hello")
    reply = owner.wait_for_reply(conversation)
    assert reply["status"] == status
    assert (reply["error"] and reply["error"]["kind"]) == kind
    assert reply["text"] == ("half" if HALF in steps or case == "refusal" else "")
    assert len(gateway.calls) == 1
    page = owner.get(f"/c/{conversation}/").text
    assert (f'data-part="error" data-kind="{kind}"' in page) is (kind is not None)
    assert f'data-status="{status}"' in page
    for button, applies in {
        "retry": status in ("failed", "interrupted"),
        "continue": case == "length" or status == "interrupted",
        "regenerate": status == "complete",
        "stop": False,
    }.items():
        assert (f'<button name="{button}"' in page) is applies, button
    if kind:
        assert reply["error"]["message"]
        assert "<html>hi" not in reply["error"]["message"]


def test_an_error_keeps_text_usage_and_finish_word(owner, gateway):
    gateway.script(HALF, chunk({}, "stop"), usage_chunk(usage(3, 4)), ERROR, DONE)
    reply = reply_to(owner)
    assert (reply["status"], reply["text"], reply["finish_reason"]) == ("failed", "half", "stop")
    assert reply["error"] == {"kind": "server", "message": "The upstream is on fire"}
    assert (reply["usage"]["total_tokens"], reply["usage"]["confidence"]) == (7, "exact")


def test_a_cut_replys_usage_is_estimated_and_says_so(owner, gateway):
    gateway.script(chunk({"content": "many words " * 100}))
    reply = reply_to(owner)
    assert reply["status"] == "interrupted"
    assert reply["usage"]["confidence"] == "estimated"
    assert 150 < reply["usage"]["completion_tokens"] < 400
    assert reply["usage"]["prompt_tokens"] > 0


SURROGATE = b'data: {"choices": [{"index": 0, "delta": {"content": "\\ud800"}}]}\n\n'


def test_text_is_cleaned_on_its_way(owner, gateway):
    gateway.reply("a\x00b\x07c\td\n", SURROGATE, "  ")
    assert reply_to(owner)["text"] == "abc\td\n�  "


def test_reasoning_is_kept_apart(owner, gateway):
    gateway.reply(Reasoning("let me "), Reasoning("think"), "Hello", usage=usage(1, 2))
    reply = reply_to(owner)
    assert (reply["reasoning"], reply["text"]) == ("let me think", "Hello")


@pytest.mark.parametrize("text", ["half ", ""])
def test_a_silent_gateway_is_given_up(start_server, gateway, text):
    server = start_server(POTOK_FIRST_BYTE_S="1", POTOK_IDLE_BYTES_S="1")
    owner = server.visitor().set_up()
    gateway.script(*([text] if text else []), Hang())
    conversation = owner.send("Say hello")
    reply = owner.wait_for_reply(conversation, deadline_s=10)
    assert reply["status"] == ("interrupted" if text else "failed")
    assert reply["error"]["kind"] == "timeout"
    assert reply["text"] == text
    gateway.wait_for_request().wait_closed()


def test_a_slow_loris_ends_at_the_total_cap(start_server, gateway):
    server = start_server(POTOK_TOTAL_S="2")
    owner = server.visitor().set_up()
    gateway.script("half", Every(b": alive\n\n", 0.1))
    reply = owner.wait_for_reply(owner.send("Say hello"), deadline_s=10)
    assert (reply["status"], reply["error"]["kind"], reply["text"]) == (
        "interrupted",
        "timeout",
        "half",
    )


# --- again --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "first",
    [
        answer(429, {"error": {"message": "slow"}}, {"Retry-After": "0"}),
        answer(503, "", {"Retry-After": "0"}),
        [Drop()],
        [Head(200, {"Content-Type": "text/event-stream"}), Drop()],
    ],
    ids=["429", "503", "dropped before the head", "dropped after it"],
)
def test_a_call_that_brought_nothing_is_made_again(owner, gateway, first):
    gateway.script(*first)
    gateway.reply("Hello", usage=usage(1, 2))
    reply = reply_to(owner)
    assert (reply["status"], reply["text"], reply["error"]) == ("complete", "Hello", None)
    assert len(gateway.calls) == 2
    assert reply["usage"]["total_tokens"] == 3


def test_a_refused_connection_is_tried_three_times(start_server):
    """And the gateway that comes back in time is heard."""
    with Gateway() as away:
        server = start_server(OPENAI_BASE_URL=away.url)
        owner = server.visitor().set_up()
        port = away.port
    conversation = owner.send("Say hello", model="m", gateway="openai")
    failed = owner.wait_for_reply(conversation, deadline_s=15)
    assert (failed["status"], failed["error"]["kind"]) == ("failed", "connection")
    assert failed["usage"] == UNKNOWN
    query = "print(Call.objects.filter(purpose='reply').count())"
    assert (
        server.manage("shell", "-v0", "-c", f"from chat.models import Call; {query}").strip() == "3"
    )
    with Gateway(port) as back:
        owner.post(f"/m/{failed['id']}/retry/")
        owner.wait_for_reply(conversation, "complete")
        assert len(back.calls) == 1


def test_a_gateway_that_was_away_at_the_start_is_listed_once_it_answers(start_server):
    with Gateway() as away:
        port = away.port
    server = start_server(OPENAI_BASE_URL=away.url, POTOK_DEMO="0")
    owner = server.visitor().set_up()
    with Gateway(port) as back:
        back.models = [{"id": "late-model"}]
        until(lambda: "late-model" in owner.get("/").text, "its model is offered", 30)


def test_a_call_is_not_made_a_fourth_time(owner, gateway):
    for _ in range(3):
        gateway.refuse(503, "", {"Retry-After": "0"})
    assert reply_to(owner)["error"]["kind"] == "server"
    assert len(gateway.calls) == 3


def test_a_person_is_not_kept_waiting_for_a_distant_retry(owner, gateway):
    gateway.refuse(429, {"error": {"message": "slow down"}}, {"Retry-After": "600"})
    reply = reply_to(owner)
    assert reply["error"] == {"kind": "rate_limit", "message": "slow down"}
    assert len(gateway.calls) == 1


def test_nothing_is_asked_again_after_the_first_word(owner, gateway):
    gateway.script(HALF, Drop())
    assert reply_to(owner)["status"] == "interrupted"
    assert len(gateway.calls) == 1


def test_a_gateway_that_takes_no_include_usage_is_asked_without_from_then_on(start_server, gateway):
    server = start_server()
    owner = server.visitor().set_up()
    refusal = {"error": {"message": "Unrecognized field: stream_options.include_usage"}}
    gateway.refuse(422, refusal)
    first = reply_to(owner)
    second = reply_to(owner)
    assert (first["status"], second["status"]) == ("complete", "complete")
    asked = ["stream_options" in call.json for call in gateway.calls]
    assert asked == [True, False, False]


def test_a_parameter_that_a_model_refuses_is_left_out_from_then_on(start_server, gateway):
    server = start_server()
    owner = server.visitor().set_up()
    gateway.refuse(400, {"error": {"code": "unsupported_parameter", "param": "temperature"}})
    owner.post("/parameters/", {"temperature": "0.5"})
    first = reply_to(owner)
    second = reply_to(owner)
    assert (first["status"], second["status"]) == ("complete", "complete")
    assert [call.json.get("temperature") for call in gateway.calls] == [0.5, None, None]


# --- stop ---------------------------------------------------------------------------------------


def test_stop_before_the_first_word_closes_the_call(owner, gateway):
    gateway.script(Hang())
    conversation = owner.send("Say hello")
    call = gateway.wait_for_request()
    began = time.monotonic()
    owner.post(f"/m/{owner.last(conversation)['id']}/stop/")
    call.wait_closed()
    assert call.closed_at - began < 1
    reply = owner.wait_for_reply(conversation)
    assert (reply["status"], reply["text"], reply["error"]) == ("stopped", "", None)
    assert reply["usage"] == UNKNOWN


def test_stop_keeps_the_words_so_far(owner, gateway):
    gateway.reply("half ", Hang())
    conversation = owner.send("Say hello")
    owner.wait_for_text(conversation, "half ")
    began = time.monotonic()
    owner.post(f"/m/{owner.last(conversation)['id']}/stop/")
    call = gateway.wait_for_request()
    call.wait_closed()
    assert call.closed_at - began < 1
    reply = owner.wait_for_reply(conversation)
    assert (reply["status"], reply["text"]) == ("stopped", "half ")
    assert reply["usage"]["confidence"] == "estimated"
    again = owner.post(f"/m/{reply['id']}/stop/")
    assert again.status_code == 303
    assert owner.last(conversation) == reply


def test_stop_while_it_waits_for_the_next_try(owner, gateway):
    gateway.refuse(503, "", {"Retry-After": "20"})
    conversation = owner.send("Say hello")
    gateway.wait_for_request().wait_answered()
    owner.post(f"/m/{owner.last(conversation)['id']}/stop/")
    assert owner.wait_for_reply(conversation, deadline_s=5)["status"] == "stopped"
    assert len(gateway.calls) == 1


def test_a_queued_reply_that_is_stopped_is_never_asked_for(owner, gateway):
    gate = gateway.gate()
    gateway.reply("first", gate)
    conversation = owner.send("one")
    gate.wait_reached()
    owner.send("two", conversation)
    reply = owner.last(conversation)
    owner.post(f"/m/{reply['id']}/stop/")
    gate.open()
    stopped = owner.wait_for_reply(conversation)
    assert (stopped["status"], stopped["usage"]) == ("stopped", None)
    first = owner.export(conversation)["messages"][1]["id"]
    until(lambda: f'data-message="{first}"' in owner.get(f"/c/{conversation}/").text, "the page")
    assert len(gateway.calls) == 1


@pytest.mark.parametrize("what", ["conversation", "message"])
def test_deleting_ends_the_call(server, owner, gateway, what):
    gateway.reply("half ", Hang())
    conversation = owner.send("Say hello")
    owner.wait_for_text(conversation, "half ")
    reply = owner.last(conversation)
    began = time.monotonic()
    if what == "conversation":
        owner.post(f"/c/{conversation}/delete/")
    else:
        owner.post(f"/m/{reply['parent']}/delete/")
    call = gateway.wait_for_request()
    call.wait_closed()
    assert call.closed_at - began < 2
    query = "print(Call.objects.latest('id').confidence)"
    until(
        lambda: (
            server.manage("shell", "-v0", "-c", f"from chat.models import Call; {query}").strip()
            == "estimated"
        ),
        "the usage is kept",
    )


# --- the demo -----------------------------------------------------------------------------------


def test_without_a_gateway_the_demo_answers(start_server):
    server = start_server(OPENAI_BASE_URL="", OPENAI_API_KEY="")
    owner = server.visitor().set_up()
    reply = owner.wait_for_reply(owner.send("Say hello"))
    assert (reply["status"], reply["gateway"]) == ("complete", "demo")
    assert reply["model"]
    assert reply["usage"]["confidence"] == "exact"


def test_the_demo_answers_only_to_this_installations_key(server):
    visitor = server.visitor(Authorization="Bearer guess")
    assert visitor.get("/demo/v1/models").status_code == 401


def test_a_server_with_neither_demo_nor_gateway_says_so(start_server):
    server = start_server(OPENAI_BASE_URL="", OPENAI_API_KEY="", POTOK_DEMO="0")
    owner = server.visitor().set_up()
    answer = owner.post("/messages/", {"text": "Anybody there?"})
    assert answer.status_code == 422
    assert "No gateway is set up" in answer.text
    assert "Anybody there?</textarea>" in answer.text
    assert server.visitor().get("/demo/v1/models").status_code == 404
    # Whoever may add one is led there; nobody else is.
    assert owner.get("/admin/chat/gateway/add/").status_code == 200
    assert 'href="/admin/chat/gateway/add/"' in owner.get("/").text
    member = server.add_user("member").get("/").text
    assert "Whoever runs this installation has to add one first." in member
    assert "/admin/" not in member
