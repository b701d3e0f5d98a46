"""The scripted gateway does what the tests that lean on it believe."""

import json

import httpx
import pytest

from tests.gateway import DEFAULT_REPLY, Gateway
from tests.script import Drop, Every, Flood, Hang, Reasoning, usage_of

QUESTION = {"model": "m", "messages": [{"role": "user", "content": "Hi"}], "stream": True}


@pytest.fixture
def http(gateway):
    with httpx.Client(base_url=gateway.url, timeout=10, trust_env=False) as client:
        yield client


def ask(http):
    return http.stream("POST", "/chat/completions", json=QUESTION)


def text_of(body: str) -> str:
    events = [line[6:] for line in body.splitlines() if line.startswith("data: {")]
    deltas = [choice["delta"] for each in events for choice in json.loads(each)["choices"]]
    return "".join(delta.get("content", "") for delta in deltas)


def test_an_unscripted_question_gets_the_default_reply(gateway, http):
    answer = http.post("/chat/completions", json=QUESTION)
    assert text_of(answer.text) == DEFAULT_REPLY
    assert answer.text.endswith("data: [DONE]\n\n")
    assert gateway.wait_for_request().json == QUESTION


def test_a_question_without_stream_gets_one_completion(gateway, http):
    answer = http.post("/chat/completions", json=QUESTION | {"stream": False}).json()
    assert answer["choices"][0]["message"]["content"] == DEFAULT_REPLY


def test_a_gate_holds_back_what_stands_behind_it(gateway, http):
    gate = gateway.gate()
    gateway.reply("before ", gate, Reasoning("hm"), "behind", usage=usage_of(1, 2))
    with ask(http) as answer:
        gate.wait_reached()
        call = gateway.wait_for_request()
        assert call.text == "before "
        gate.open()
        assert text_of("".join(answer.iter_text())) == "before behind"
    assert call.reasoning == "hm"


def test_a_drop_is_no_clean_end(gateway, http):
    gateway.reply("half", Drop())
    gateway.reply("half", Drop(reset=True))
    with ask(http) as answer, pytest.raises(httpx.RemoteProtocolError):
        answer.read()
    with pytest.raises((httpx.RemoteProtocolError, httpx.ReadError)), ask(http) as answer:
        answer.read()


@pytest.mark.parametrize("last", [Hang(), Every(b": alive\n\n", 0.01)])
def test_the_clients_close_is_seen(gateway, http, last):
    gateway.reply("half", last)
    with ask(http) as answer:
        assert any("half" in part for part in answer.iter_text())
    call = gateway.wait_for_request()
    call.wait_closed()
    assert call.closed_at is not None


def test_a_reader_that_stops_reading_stops_a_flood(gateway, http):
    gateway.reply(Flood(b":" + b"x" * 65_536 + b"\n" for _ in range(16_384)))
    with ask(http) as answer:
        next(answer.iter_raw())
        call = gateway.wait_for_request()
    call.wait_closed()
    assert 0 < call.sent_bytes < 100_000_000


def test_a_connection_serves_one_request_after_another(gateway, http):
    gateway.refuse(429, {"error": {"message": "slow down"}}, {"Retry-After": "7"})
    first = http.post("/chat/completions", json=QUESTION)
    assert (first.status_code, first.headers["retry-after"]) == (429, "7")
    assert http.get("/models").json()["data"] == gateway.models
    assert http.get("/nothing").status_code == 404
    assert [call.path for call in gateway.calls] == ["/v1/chat/completions"]


def test_two_scripts_find_their_own_requests(gateway, http):
    gateway.reply("for b", when=lambda call: call.prompt == "b")
    gateway.reply("for a", when=lambda call: call.prompt == "a")
    for prompt in ("a", "b"):
        question = QUESTION | {"messages": [{"role": "user", "content": prompt}]}
        assert text_of(http.post("/chat/completions", json=question).text) == f"for {prompt}"
    assert gateway.unused == 0


def test_closing_the_gateway_ends_what_still_runs():
    with Gateway() as gateway, httpx.Client(base_url=gateway.url, trust_env=False) as http:
        gateway.reply("half", Hang())
        with ask(http) as answer:
            parts = answer.iter_text()
            assert any("half" in part for part in parts)
            gateway.close()
            with pytest.raises(httpx.RemoteProtocolError):
                next(parts)
    assert gateway.failures == []


async def test_an_async_test_runs_by_itself(anyio_backend_name):
    assert anyio_backend_name == "asyncio"
