"""The built-in gateway's streams through a real Daphne: their shape, pace and end."""

import asyncio
import json
import socket
import time
from typing import Any

import pytest

from chat.demo import catalogue, wire
from chat.demo.app import create_app
from tests.demo import KEY, ask, completions, events, question, running, said, served
from tests.waiting import until

__all__ = ["served"]


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
