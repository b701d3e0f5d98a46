"""The built-in gateway: its HTTP in this process, its streams through a real Daphne."""

import asyncio
import json
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chat.demo import answers, catalogue, faults, wire
from chat.demo.app import MAX_REQUEST_BYTES, create_app
from chat.demo.script import Pause
from chat.replies.prompt import GO_ON
from tests.waiting import until

KEY = "demo-key"
ROOT = Path(__file__).parents[1]
AUTHORIZATION = {"Authorization": f"Bearer {KEY}"}
RECORDING = b'data: {"choices":[{"delta":{"content":"\xd0\x81"}}]}\n\ndata: [DONE]\n\n'

SERVED = """
from pathlib import Path
from chat.demo.app import create_app
demo = create_app({key!r}, faults=True, streams_dir=Path(__file__).parent / "streams")
running = 0
async def app(scope, receive, send):
    global running
    if scope["path"] == "/running":
        await send({{"type": "http.response.start", "status": 200, "headers": []}})
        return await send({{"type": "http.response.body", "body": str(running).encode()}})
    running += 1
    try:
        await demo(scope, receive, send)
    finally:
        running -= 1
"""


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """A client of the gateway under Daphne, with scripted faults; /running counts its replies."""
    folder = tmp_path_factory.mktemp("demo")
    (folder / "demo_served.py").write_text(SERVED.format(key=KEY))
    (folder / "streams").mkdir()
    (folder / "streams" / "yo.sse").write_bytes(RECORDING)
    (folder / "secret.txt").write_text("secret")
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    daphne = [sys.executable, "-m", "daphne", "-v", "0", "-b", "127.0.0.1", "-p", str(port)]
    process = subprocess.Popen(
        [*daphne, "demo_served:app"],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": f"{ROOT}{os.pathsep}{folder}"},
    )
    try:
        until(lambda: is_listening(port), "Daphne listens")
        url = f"http://127.0.0.1:{port}"
        with httpx.Client(base_url=url, headers=AUTHORIZATION, timeout=5) as client:
            yield client
    finally:
        process.kill()
        process.wait()


def is_listening(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture
async def plain() -> AsyncIterator[httpx.AsyncClient]:
    """A client of the gateway as people get it, in this process."""
    transport = httpx.ASGITransport(create_app(KEY))
    async with httpx.AsyncClient(
        transport=transport, base_url="http://demo", headers=AUTHORIZATION
    ) as client:
        yield client


def question(model: str, *texts: str, **more: Any) -> dict[str, Any]:
    """A request; the texts are the user's and the assistant's in turn."""
    roles = ("user", "assistant")
    messages = [{"role": roles[i % 2], "content": text} for i, text in enumerate(texts or ["Hi"])]
    return {"model": model, "messages": messages, **more}


def completions(client: httpx.Client, model: str, *texts: str, **more: Any) -> httpx.Response:
    body = question(model, *texts, **{"stream": True, **more})
    return client.post("/demo/v1/chat/completions", json=body)


def events(body: bytes) -> list[Any]:
    """The payloads of a stream; [DONE] as the string."""
    assert body.endswith(b"\n\n")
    frames = body[:-2].split(b"\n\n")
    assert all(frame.startswith(b"data: ") for frame in frames)
    payloads = [frame.removeprefix(b"data: ") for frame in frames]
    return ["[DONE]" if payload == b"[DONE]" else json.loads(payload) for payload in payloads]


def said(body: bytes, key: str = "content") -> str:
    chunks = [event for event in events(body) if event != "[DONE]" and event.get("choices")]
    return "".join(chunk["choices"][0]["delta"].get(key, "") for chunk in chunks)


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


# --- HTTP ---


async def test_models_are_listed_as_openai_does_with_the_fast_one_first(plain):
    answer = (await plain.get("/demo/v1/models")).json()

    assert answer["object"] == "list"
    assert [model["id"] for model in answer["data"]][:3] == [
        "demo-fast",
        "demo-slow",
        "demo-reasoning",
    ]
    assert all(model.keys() == {"id", "object", "created", "owned_by"} for model in answer["data"])


async def test_every_listed_model_exists(plain):
    for model in (await plain.get("/demo/v1/models")).json()["data"]:
        request = wire.Request(model["id"], [wire.Message("user", "Hi")])
        assert catalogue.script_for(request) is not None


@pytest.mark.parametrize(
    ("authorization", "code"),
    [(None, None), ("", None), ("Bearer", None), (f"Basic {KEY}", None)]
    + [(f"Bearer {wrong}", "invalid_api_key") for wrong in ("wrong", KEY + "x", KEY[:-1])],
)
async def test_without_the_right_key_nothing_is_told(plain, authorization, code):
    del plain.headers["Authorization"]
    headers = {} if authorization is None else {"Authorization": authorization}

    for answer in (
        await plain.get("/demo/v1/models", headers=headers),
        await plain.post("/demo/v1/chat/completions", headers=headers, content=b"{"),
    ):
        assert answer.status_code == 401
        assert answer.json()["error"]["code"] == code
        assert KEY not in answer.text


@pytest.mark.parametrize(
    ("content", "param"),
    [
        (b"", None),
        (b"{", None),
        (b"[]", None),
        (b"\xff", None),
        (b'{"model":"demo-fast","messages":[{"role":"user","content":"\\ud83d"}]}', None),
        (b'{"messages":[{"role":"user","content":"Hi"}]}', "model"),
        (b'{"model":"demo-fast"}', "messages"),
        (b'{"model":"demo-fast","messages":[]}', "messages"),
        (b'{"model":"demo-fast","messages":"Hi"}', None),
        (b'{"model":1,"messages":[]}', None),
        (b'{"model":"demo-fast","messages":[],"max_tokens":0}', None),
    ],
)
async def test_a_body_that_is_no_request_gets_400(plain, content, param):
    answer = await plain.post("/demo/v1/chat/completions", content=content)

    assert answer.status_code == 400
    assert answer.json()["error"]["type"] == "invalid_request_error"
    assert answer.json()["error"]["param"] == param


async def test_an_unknown_model_gets_404_by_its_name(plain):
    answer = await plain.post("/demo/v1/chat/completions", json=question("gpt-0"))

    assert answer.status_code == 404
    assert answer.json()["error"] == {
        "message": "The model `gpt-0` does not exist or you do not have access to it.",
        "type": "invalid_request_error",
        "param": "model",
        "code": "model_not_found",
    }


@pytest.mark.parametrize("model", ["fault/text=Hi;done", "fault", "replay/yo.sse", "demo-fast:9:0"])
async def test_scripts_are_unknown_models_unless_faults_are_on(plain, model):
    answer = await plain.post("/demo/v1/chat/completions", json=question(model))

    assert answer.status_code == 404


async def test_other_addresses_get_404_and_other_methods_405(plain):
    assert (await plain.get("/demo/v1/nothing")).status_code == 404
    assert (await plain.get("/demo/v1")).status_code == 404
    for method, path, allowed in [
        ("POST", "/demo/v1/models", "GET"),
        ("HEAD", "/demo/v1/models", "GET"),
        ("GET", "/demo/v1/chat/completions", "POST"),
    ]:
        answer = await plain.request(method, path)
        assert (answer.status_code, answer.headers["allow"]) == (405, allowed)


async def test_a_body_above_the_limit_gets_413(plain):
    answer = await plain.post("/demo/v1/chat/completions", content=b" " * (MAX_REQUEST_BYTES + 1))

    assert answer.status_code == 413


# --- answers ---


def ask(*texts: str, system: str = "") -> str:
    messages = [wire.Message("system", system)] if system else []
    turns = question("demo-fast", *texts)["messages"]
    return answers.answer([*messages, *(wire.Message(**turn) for turn in turns)])


def test_an_answer_quotes_the_question_and_says_that_no_model_thinks_here():
    assert 'You asked: "What is it?"' in ask("What \n is it?")
    assert "no model thinks here" in ask("What is it?")


def test_the_language_of_the_question_is_the_language_of_the_answer():
    assert "Вы спросили: «Как дела?»" in ask("Hello", "Hi", "Как дела?")
    assert 'You asked: "Hello"' in ask("Как дела?", "Хорошо", "Hello")


def test_the_number_of_messages_is_told_once_there_are_earlier_turns():
    assert "messages came" not in ask("One", system="Be kind.")
    assert "3 messages came with this request" in ask("One", "Two", "Three", system="Be kind.")
    assert "пришло сообщений: 3" in ask("One", "Two", "Три")


@pytest.mark.parametrize(
    ("word", "mark"),
    [
        ("table", "|:---"),
        ("таблица", "|:---"),
        ("code", "```python"),
        ("код", "```python"),
        ("maths", "$$\n"),
        ("формула", "$$\n"),
        ("list", "- [x] "),
        ("список", "- [x] "),
        ("anything", "AITUNNEL_API_KEY"),
        ("что угодно", "AITUNNEL_API_KEY"),
    ],
)
def test_a_word_of_the_question_chooses_the_answer(word, mark):
    assert mark in ask(f"Please, {word}!")


def test_a_long_answer_has_some_three_thousand_words_and_a_short_one_few():
    for long, short in [("long", "short"), ("длинный", "короткий")]:
        assert 2500 < len(ask(long).split()) < 3500
        assert len(ask(short).split()) < 40


def test_an_answer_that_stopped_halfway_is_continued_and_not_begun_again():
    whole = ask("Tell me")
    half = whole[: len(whole) // 2]

    assert ask("Tell me", half) == whole[len(half) :]
    assert ask("Tell me", half, GO_ON) == whole[len(half) :]
    assert 'You asked: "Continue"' in ask("Tell me", whole, "Continue")


def test_parts_that_are_no_text_are_passed_over():
    parts = [{"type": "image_url", "image_url": {"url": "x"}}, {"type": "text", "text": "See"}]

    assert 'You asked: "See"' in answers.answer([wire.Message("user", parts)])


@pytest.mark.parametrize(
    "messages",
    [
        [("system", "Write a title for the talk."), ("user", "How do I bake a loaf of rye bread?")],
        [
            ("user", "How do I bake a loaf of rye bread?"),
            ("assistant", "So."),
            ("user", "A title?"),
        ],
        [("user", "Give it a title:\n\nHow do I bake a loaf of rye bread?")],
    ],
)
async def test_a_request_for_a_title_gets_a_few_words_of_the_question(plain, messages):
    body = question("demo-fast") | {
        "messages": [{"role": role, "content": content} for role, content in messages]
    }
    answer = (await plain.post("/demo/v1/chat/completions", json=body)).json()

    assert answer["choices"][0]["message"]["content"] == "How do I bake a loaf"


@given(st.text())
def test_pieces_put_together_are_the_text(text):
    assert "".join(wire.pieces(text)) == text


# --- streams ---


def test_a_stream_has_openais_shape_from_role_to_done(served):
    options = {"stream_options": {"include_usage": True}}
    answer = completions(served, "demo-fast", "short", **options)
    first, *deltas, finish, usage, done = events(answer.content)

    assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert first["choices"][0]["delta"] == {"role": "assistant", "content": ""}
    assert len(deltas) > 10
    assert all(delta["choices"][0]["finish_reason"] is None for delta in deltas)
    assert (finish["choices"][0]["delta"], finish["choices"][0]["finish_reason"]) == ({}, "stop")
    assert (usage["choices"], done) == ([], "[DONE]")
    assert usage["usage"] == {
        "prompt_tokens": 1,
        "completion_tokens": len(deltas),
        "total_tokens": len(deltas) + 1,
        "prompt_tokens_details": {"cached_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": 0},
    }
    chunks = [first, *deltas, finish, usage]
    assert len({chunk["id"] for chunk in chunks}) == 1
    assert {chunk["object"] for chunk in chunks} == {"chat.completion.chunk"}
    assert {chunk["model"] for chunk in chunks} == {"demo-fast"}


def test_usage_is_sent_only_to_those_who_ask(served):
    chunks = events(completions(served, "demo-fast", "short").content)[:-1]

    assert all("usage" not in chunk for chunk in chunks)


def test_a_stream_and_a_completion_say_the_same_at_the_same_cost(served):
    options = {"stream_options": {"include_usage": True}}
    streamed = completions(served, "demo-fast", "коротко 👍🏽", **options).content
    whole = completions(served, "demo-fast", "коротко 👍🏽", stream=False).json()

    assert whole["object"] == "chat.completion"
    assert whole["choices"][0]["message"]["content"] == said(streamed)
    assert whole["choices"][0]["finish_reason"] == "stop"
    assert whole["usage"] == events(streamed)[-2]["usage"]


def test_reasoning_comes_before_the_answer_and_is_counted(served):
    options = {"stream_options": {"include_usage": True}}
    answer = completions(served, "demo-reasoning", "short", **options).content
    kinds = [
        "reasoning" if "reasoning_content" in event["choices"][0]["delta"] else "text"
        for event in events(answer)[1:-3]
    ]
    usage = events(answer)[-2]["usage"]

    assert kinds == sorted(kinds)
    assert "real model would think" in said(answer, "reasoning_content")
    assert 'You asked: "short"' in said(answer)
    assert usage["completion_tokens_details"]["reasoning_tokens"] == kinds.count("reasoning")
    assert usage["completion_tokens"] == len(kinds)


def test_max_tokens_cuts_the_answer_with_finish_length(served):
    answer = completions(served, "demo-fast", max_tokens=5).content

    assert len(wire.pieces(said(answer))) == 5
    assert events(answer)[-2]["choices"][0]["finish_reason"] == "length"


@pytest.mark.parametrize(("model", "rate"), [("demo-fast", 200), ("demo-slow", 8)])
def test_words_come_at_the_pace_of_the_model(served, model, rate):
    began = time.monotonic()
    body = completions(served, model, max_tokens=rate).content
    took_s = time.monotonic() - began

    assert len(wire.pieces(said(body))) == rate
    assert 0.95 < took_s < 2


def test_a_slow_answer_takes_twenty_to_forty_seconds():
    for word in ("hello", "table", "code", "list", "привет", "таблица", "код", "список"):
        assert 20 < len(wire.pieces(ask(word))) / catalogue.DELTAS_PER_SECOND["demo-slow"] < 40


@pytest.mark.parametrize(
    "model", ["demo-slow", "demo-error-timeout", "fault/open;hang", "fault/deltas=9999999:999"]
)
def test_a_reply_stops_within_a_second_of_its_client_leaving(served, model):
    body = json.dumps(question(model, stream=True)).encode()
    head = (
        f"POST /demo/v1/chat/completions HTTP/1.1\r\nHost: demo\r\n"
        f"Authorization: Bearer {KEY}\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    with socket.create_connection((served.base_url.host, served.base_url.port)) as client:
        client.sendall(head.encode() + body)
        until(lambda: running(served) == 1, "the reply runs")

    until(lambda: running(served) == 0, "the reply has stopped", deadline_s=1)


async def test_a_cancelled_reply_leaves_no_task_behind():
    before = asyncio.all_tasks()
    sent: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
    received: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
    body = json.dumps(question("demo-slow", stream=True)).encode()
    received.put_nowait({"type": "http.request", "body": body})
    scope = {
        "type": "http",
        "method": "POST",
        "path": "/demo/v1/chat/completions",
        "headers": [(b"authorization", f"Bearer {KEY}".encode())],
    }
    reply = asyncio.create_task(create_app(KEY)(scope, received.get, sent.put))
    assert (await sent.get())["type"] == "http.response.start"

    reply.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reply

    assert asyncio.all_tasks() == before


def running(client: httpx.Client) -> int:
    return int(client.get("/running").text)


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
