"""The built-in gateway's faults through a real Daphne: models that fail, and those that are scripted."""

import json
import re
from typing import Any

import httpx
import pytest

from chat.demo import catalogue, faults, wire
from chat.demo.script import Pause
from tests.demo import RECORDING, ask, completions, events, question, running, said, served
from tests.waiting import until

__all__ = ["served"]


def received(client: httpx.Client, model: str, **more: Any) -> tuple[bytes, str]:
    """What came of the body, and the name of the error that ended it, if one did."""
    body = b""
    try:
        with client.stream(
            "POST",
            "/demo/v1/chat/completions",
            json=question(model, **{"stream": True, **more}),
        ) as response:
            for part in response.iter_raw():
                body += part
    except httpx.HTTPError as exc:
        return body, type(exc).__name__
    return body, ""


# --- models that fail ---


@pytest.mark.parametrize("kind", catalogue.REFUSALS)
def test_a_refusing_model_answers_with_its_status_and_an_error_body(served, kind):
    for stream in (True, False):
        answer = completions(served, f"demo-error-{kind}", stream=stream)

        assert answer.status_code == catalogue.REFUSALS[kind][0]
        assert answer.json()["error"].keys() == {"message", "type", "param", "code"}
        assert ("retry-after" in answer.headers) == (kind in {"rate_limit", "overloaded"})


def test_the_dropping_model_loses_the_connection_in_mid_text(served):
    body, error = received(served, "demo-error-drop")

    assert error == "RemoteProtocolError"
    assert len(wire.pieces(said(body))) == 60
    assert b"[DONE]" not in body


def test_the_failing_model_sends_an_error_object_after_some_text(served):
    body, error = received(served, "demo-error-midstream")

    assert error == ""
    assert said(body)
    assert events(body)[-1]["error"]["type"] == "server_error"


@pytest.mark.parametrize(("kind", "reason"), [("length", "length"), ("content_filter",) * 2])
def test_a_shortened_reply_says_why(served, kind, reason):
    body, error = received(served, f"demo-error-{kind}")

    assert error == ""
    assert said(body)
    assert events(body)[-2]["choices"][0]["finish_reason"] == reason


def test_the_empty_model_ends_well_and_says_nothing(served):
    body, error = received(served, "demo-error-empty")

    assert error == ""
    assert said(body) == ""
    assert events(body)[-1] == "[DONE]"


def test_a_hanging_model_falls_silent_with_or_without_a_beginning():
    asked = wire.Request(model="demo-error-hang", messages=[wire.Message("user", "Hi")])
    hang = catalogue.script_for(asked)
    asked.model = "demo-error-timeout"
    timeout = catalogue.script_for(asked)

    assert isinstance(hang.steps[-1], Pause)
    assert len(hang.steps) == 3
    assert timeout.steps == [Pause()]


@pytest.mark.parametrize("kind", ["drop", "midstream", "length"])
def test_what_stopped_halfway_ends_well_after_continue(served, kind):
    begun = said(received(served, f"demo-error-{kind}")[0])
    rest = completions(served, f"demo-error-{kind}", "Hi", begun, stream=False).json()["choices"][0]

    assert begun + rest["message"]["content"] == ask("Hi")
    assert rest["finish_reason"] == "stop"


# --- scripted faults ---


def test_a_script_sends_its_steps_in_order_and_nothing_else(served):
    body, error = received(served, "fault/text=Hello;pause=0.1;text= world;usage=10:5;done")
    hello, world, usage, done = events(body)

    assert error == ""
    assert [chunk["choices"][0]["delta"] for chunk in (hello, world)] == [
        {"content": "Hello"},
        {"content": " world"},
    ]
    assert (usage["usage"]["prompt_tokens"], usage["usage"]["completion_tokens"]) == (10, 5)
    assert done == "[DONE]"


@pytest.mark.parametrize(
    ("script", "body"),
    [
        ("comment", b": keep-alive\n\n"),
        ("comment=OPENROUTER PROCESSING", b": OPENROUTER PROCESSING\n\n"),
        ("event=error;data=x", b"event: error\ndata: x\n\n"),
        ("data=a%3Bb%3Dc", b"data: a;b=c\n\n"),
        ("raw=AP__", b"\x00\xff\xff"),
        ("raw=AA==", b"\x00"),
        ("garbage", faults.GARBAGE),
        ("done", b"data: [DONE]\n\n"),
        ("crlf;comment;done", b": keep-alive\r\n\r\ndata: [DONE]\r\n\r\n"),
        ("bytes=1;done", b"data: [DONE]\n\n"),
        ("line=100000", b"x" * 100_000),
        ("open", b""),
        ("html", faults.PROXY_PAGE),
    ],
)
def test_bytes_are_sent_as_scripted(served, script, body):
    assert received(served, f"fault/{script}") == (body, "")


def test_a_script_may_drop_or_reset_the_connection_anywhere(served):
    assert received(served, "fault/drop") == (b"", "RemoteProtocolError")
    assert received(served, "fault/comment;drop") == (b": keep-alive\n\n", "RemoteProtocolError")
    assert received(served, "fault/open;pause=0.1;reset") == (b"", "ReadError")
    assert received(served, "fault/text=Hi;drop", stream=False) == (b"", "RemoteProtocolError")


def test_the_server_still_answers_after_dropped_connections(served):
    for _ in range(5):
        received(served, "fault/comment;drop")

    assert completions(served, "demo-fast", "short").status_code == 200
    until(lambda: running(served) == 0, "every reply has ended", deadline_s=2)


@pytest.mark.parametrize("rate", [0, 1000])
def test_numbered_words_come_complete_and_in_order(served, rate):
    body, error = received(served, f"fault/deltas=300:{rate};deltas=2;empty=2;done")

    assert error == ""
    assert said(body) == "".join(f"w{number} " for number in range(1, 303))
    assert len(events(body)) == 305


def test_the_fast_model_takes_a_count_and_a_pace(served):
    body, error = received(served, "demo-fast:500:0")

    assert error == ""
    assert said(body).split() == [f"w{number}" for number in range(1, 501)]
    assert events(body)[-2]["usage"]["completion_tokens"] == 500


def test_a_status_comes_with_its_body_and_retry_after(served):
    answer = completions(served, "fault/status=429:7")

    assert (answer.status_code, answer.headers["retry-after"]) == (429, "7")
    assert answer.json()["error"]["code"] == "rate_limit_exceeded"
    assert completions(served, "fault/status=402::string").json() == {
        "error": "Недостаточно средств на балансе"
    }
    assert completions(served, "fault/status=502;html").content == faults.PROXY_PAGE
    assert completions(served, "fault/status=503;raw=").content == b""


@pytest.mark.parametrize(
    "form", ["openai", "string", "message", "detail", "list", "text", "html", "empty"]
)
@pytest.mark.parametrize("code", [*faults.ERRORS, 418])
def test_every_status_has_every_form_of_body(code, form):
    content_type, body = faults.refusal(code, form)

    assert content_type
    assert bool(body) == (form != "empty")


def test_an_error_object_in_mid_stream_is_status_500_without_a_stream(served):
    script = "fault/text=Hi;error=overloaded:Too busy: wait"
    error = {"message": "Too busy: wait", "type": "overloaded", "param": None, "code": None}

    assert events(completions(served, script).content)[-1] == {"error": error}
    answer = completions(served, script, stream=False)
    assert (answer.status_code, answer.json()) == (500, {"error": error})


def test_a_whole_completion_comes_where_a_stream_was_asked_for(served):
    answer = completions(served, "fault/json=Hello there")

    assert answer.headers["content-type"] == "application/json"
    assert answer.json()["choices"][0]["message"]["content"] == "Hello there"


def test_a_script_without_a_stream_becomes_one_completion(served):
    script = "fault/reason=Hm;text=Hello ;text=there;usage=10:5:2:1;finish=length;done"
    answer = completions(served, script, stream=False).json()

    assert answer["choices"][0]["message"]["content"] == "Hello there"
    assert answer["choices"][0]["message"]["reasoning_content"] == "Hm"
    assert answer["choices"][0]["finish_reason"] == "length"
    assert answer["usage"]["prompt_tokens_details"] == {"cached_tokens": 1}


def test_echo_says_the_request_as_it_came(served):
    body, _ = received(served, "fault/echo;done", temperature=0.5)

    assert json.loads(said(body)) == question("fault/echo;done", stream=True, temperature=0.5)


def test_a_script_may_be_the_last_user_message(served):
    answer = completions(served, "fault", "text=no", "text=no", "text=yes;done")

    assert said(answer.content) == "yes"


WRONG_SCRIPTS = """
    fault/ fault/hax fault/text=a;;done fault/pause=x fault/deltas=-1 fault/raw=* fault/usage=x
    fault/usage=1 fault/status=x fault/status=500::x demo-fast:x:1
    replay/ replay/no.sse replay/yo.sse;cut=x replay/yo.sse;hax=1
    replay/../secret.txt replay/%2e%2e%2fsecret.txt replay//etc/passwd replay/.
"""


@pytest.mark.parametrize("model", WRONG_SCRIPTS.split())
def test_a_wrong_script_gets_400(served, model):
    answer = completions(served, model)

    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "model")


@pytest.mark.parametrize(
    ("options", "body", "error"),
    [
        ("", RECORDING, ""),
        (";chunk=3", RECORDING, ""),
        (";chunk=10;delay=5", RECORDING, ""),
        (";cut=9", RECORDING[:9], ""),
        (";cut=9;drop", RECORDING[:9], "RemoteProtocolError"),
    ],
)
def test_a_recording_is_replayed_byte_for_byte(served, options, body, error):
    assert received(served, f"replay/yo.sse{options}") == (body, error)


def test_every_step_is_in_the_grammar():
    for name in [*faults.MAKERS, *faults.OPTIONS, *faults.numbering(), "echo", "html", "json"]:
        assert re.search(rf"^    (\S+ +)?{name}\b", faults.__doc__, re.MULTILINE), name
