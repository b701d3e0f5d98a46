"""Calls over real connections to a server that does what gateways, proxies and enemies do."""

import asyncio
import gzip
import json
import tracemalloc
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import aclosing, asynccontextmanager
from decimal import Decimal
from functools import wraps
from typing import Any

import pytest

from chat.rendering.clean import clean
from chat.upstream.client import Client, Deadlines, End, Endpoint, Opened, Waiting
from chat.upstream.dialect import Delta, Failure, Usage
from chat.upstream.errors import GatewayError
from tests import recordings
from tests.raw_server import STREAM, Server, chunked, hang, reset, response, serving, trickle
from tests.recordings import Answer, Stream

PATIENT = Deadlines()
QUICK = Deadlines(idle_bytes_s=0.5, idle_payload_s=1, after_finish_s=0.1, total_s=1.5)
BODY = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}
HELLO = b'data: {"choices":[{"delta":{"content":"Hello"}}]}\n\n'
FINISH = b'data: {"choices":[{"delta":{},"finish_reason":"stop"}]}\n\n'
DONE = b"data: [DONE]\n\n"
EMPTY = b'data: {"choices":[{"delta":{"content":""}}]}\n\n'
USAGE = b'data: {"choices":[],"usage":{"prompt_tokens":3}}\n\n'


def in_a_loop(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    @wraps(test)
    def run(*args: Any, **kwargs: Any) -> None:
        asyncio.run(asyncio.wait_for(test(*args, **kwargs), 30))

    return run


@asynccontextmanager
async def client(deadlines: Deadlines = PATIENT, **bounds: int) -> AsyncIterator[Client]:
    made = Client(deadlines, **bounds)
    try:
        yield made
    finally:
        await made.aclose()


def endpoint(server: Server, **more: Any) -> Endpoint:
    return Endpoint("test", server.base_url, **{"key": "sk-secret-key", **more})


async def read(asked: Client, at: Endpoint) -> list[object]:
    """All items of a stream; the last one is End."""
    async with aclosing(asked.stream(at, BODY)) as items:
        return [item async for item in items]


def text_of(items: list[Any]) -> str:
    return "".join(item.text for item in items if isinstance(item, Delta))


async def ended(*steps: Any, **bounds: Any) -> tuple[list[Any], End]:
    """Everything that a call to a server with these steps gives, and its End."""
    async with serving(*steps) as server, client(**bounds) as asked:
        items = await read(asked, endpoint(server))
        assert isinstance(items[0], Opened)
        end = items[-1]
        assert isinstance(end, End)
        failures = [item for item in items if isinstance(item, Failure)]
        assert failures == ([Failure(end.error)] if end.error else [])
        return items, end


async def refused(*steps: Any, **bounds: Any) -> GatewayError:
    """The error that a call to a server with these steps raises before it opened."""
    async with serving(*steps) as server, client(**bounds) as asked:
        with pytest.raises(GatewayError) as caught:
            await read(asked, endpoint(server))
        return caught.value


# --- a call ---


@recordings.each(recordings.streams())
@in_a_loop
async def test_a_recorded_stream_arrives_over_a_real_connection(case: Stream) -> None:
    items, end = await ended(STREAM, case.body[:100], case.body[100:])
    assert text_of(items) == clean(case.text)
    assert end.eof == case.expected["eof"]


@recordings.each(recordings.answers())
@in_a_loop
async def test_a_recorded_answer_that_is_no_stream_is_understood(case: Answer) -> None:
    answer = response(case.status, case.headers, case.body)
    if case.expected["kind"] == "ok":
        items, end = await ended(answer)
        assert text_of(items) == case.expected["content"]
        assert (end.error, end.finish_reason) == (None, case.expected["finish_reason"])
        assert any(isinstance(item, Usage) for item in items)
        return
    error = await refused(answer)
    shown = case.expected["message"]
    assert error.kind == case.expected["kind"]
    assert shown in (error.message or "") if shown else error.message is None
    assert error.retry_after_s == case.expected.get("retry_after")


@in_a_loop
async def test_a_request_says_what_it_should_and_no_more() -> None:
    cookie = STREAM.replace(b"Connection", b"Set-Cookie: a=b\r\nX-Request-Id: r1\r\nConnection")
    async with serving(cookie + HELLO + DONE) as server, client() as asked:
        at = endpoint(server, headers={"X-Title": "Potok"})
        items = await read(asked, at)
        await read(asked, endpoint(server, include_usage=False))
        await asked.complete(endpoint(server, key=""), BODY)
    assert items[0] == Opened(200, "r1")
    first, second, third = (json.loads(body) for body in server.bodies)
    assert first == {**BODY, "stream": True, "stream_options": {"include_usage": True}}
    assert second == {**BODY, "stream": True}
    assert third == BODY
    head = server.heads[0].lower()
    assert head.startswith("post /v1/chat/completions http/1.1\r\n")
    assert "authorization: bearer sk-secret-key\r\n" in head
    assert "accept-encoding: identity\r\n" in head
    assert "x-title: potok\r\n" in head
    assert "cookie" not in "".join(server.heads).lower()
    assert "authorization" not in server.heads[2].lower()


@in_a_loop
async def test_a_connection_is_used_again_after_done() -> None:
    async with serving(chunked(HELLO + DONE), keep_alive=True) as server, client() as asked:
        for _ in range(3):
            await read(asked, endpoint(server))
        assert (len(server.heads), server.connections) == (3, 1)


@in_a_loop
async def test_calls_wait_for_a_place_in_the_pool_and_not_for_ever() -> None:
    deadlines = Deadlines(connect_s=0.3)
    async with (
        serving(STREAM, HELLO, hang) as server,
        client(deadlines, max_connections=1) as asked,
        aclosing(asked.stream(endpoint(server), BODY)) as items,
    ):
        assert isinstance(await anext(items), Opened)
        with pytest.raises(GatewayError) as caught:
            await read(asked, endpoint(server))
        assert (caught.value.kind, caught.value.reason) == ("timeout", "connect")


def test_the_key_is_in_no_representation() -> None:
    at = Endpoint("a", "http://x/v1", "sk-secret-key", {"Authorization": "sk-secret-key"})
    assert "secret" not in repr(at)


def test_a_refused_parameter_goes_by_its_other_name_then_not_at_all() -> None:
    body = {"model": "m", "max_tokens": 9, "temperature": 0.5}
    named = GatewayError("bad_request", parameters=("max_tokens", "max_completion_tokens"))
    once = Endpoint("test", "http://127.0.0.1/v1").taught_by(named, body)
    assert once
    assert once.fitted(body) == {
        "model": "m",
        "temperature": 0.5,
        "max_completion_tokens": 9,
    }
    assert once.fitted(body | {"model": "other"}) == body | {"model": "other"}
    twice = once.taught_by(named, body)
    assert twice
    assert twice.fitted(body) == {"model": "m", "temperature": 0.5}
    assert twice.taught_by(named, body) is None
    assert twice.taught_by(GatewayError("bad_request", parameters=("top_p",)), body) is None


@pytest.mark.parametrize("key", ["sk with space", "ключ", "a\r\nX: y"])
@in_a_loop
async def test_a_key_that_no_header_can_hold_is_refused(key: str) -> None:
    async with serving(STREAM) as server, client() as asked:
        with pytest.raises(GatewayError) as caught:
            await read(asked, endpoint(server, key=key))
    assert (caught.value.kind, server.connections) == ("auth", 0)


@pytest.mark.parametrize("value", ["я", "a\r\nX: y"])
@in_a_loop
async def test_a_header_that_cannot_be_sent_is_an_error(value: str) -> None:
    async with serving(STREAM) as server, client() as asked:
        with pytest.raises(GatewayError):
            await read(asked, endpoint(server, headers={"X-Title": value}))
    assert server.heads == []


@in_a_loop
async def test_a_refusal_that_comes_before_the_whole_request_was_sent_is_read() -> None:
    async def early(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(response(413, {}, b'{"error":"too big"}'))
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(early, "127.0.0.1", 0) as server, client() as asked:
        at = Endpoint("a", f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1")
        with pytest.raises(GatewayError) as caught:
            await asked.complete(at, {"messages": ["x" * 20_000_000]})
    assert (caught.value.status, caught.value.message) == (413, "too big")


@in_a_loop
async def test_a_large_request_is_sent_whole_with_its_length() -> None:
    body = {"messages": ["ё" * 2_000_000]}
    async with serving(STREAM + HELLO + DONE) as server, client() as asked:
        await asked.complete(endpoint(server), body)
    assert json.loads(server.bodies[0]) == body
    assert "transfer-encoding" not in server.heads[0].lower()


# --- closing ---


@in_a_loop
async def test_closing_the_iterator_closes_the_connection_at_once() -> None:
    async with serving(STREAM, HELLO, hang) as server, client() as asked:
        items = asked.stream(endpoint(server), BODY)
        while not isinstance(await anext(items), Delta):
            pass
        await items.aclose()
        await asyncio.wait_for(server.left.wait(), 1)


@in_a_loop
async def test_a_loop_that_is_left_closes_the_connection() -> None:
    async with serving(STREAM, HELLO, hang) as server, client() as asked:
        async for item in asked.stream(endpoint(server), BODY):
            if isinstance(item, Delta):
                break
        await asyncio.wait_for(server.left.wait(), 1)


@pytest.mark.parametrize(
    "steps", [(hang,), (STREAM, hang), (STREAM, HELLO, hang)], ids=["headers", "body", "delta"]
)
@in_a_loop
async def test_cancelling_closes_the_connection_at_once(steps: tuple[Any, ...]) -> None:
    async with serving(*steps) as server, client() as asked:
        task = asyncio.create_task(read(asked, endpoint(server)))
        await server.asked.wait()
        await asyncio.sleep(0.05)
        task.cancel()
        await asyncio.wait_for(server.left.wait(), 1)
        with pytest.raises(asyncio.CancelledError):
            await task


@in_a_loop
async def test_closing_the_client_ends_what_runs_as_dropped() -> None:
    async with serving(STREAM, HELLO, hang) as server, client() as asked:
        items = asked.stream(endpoint(server), BODY)
        while not isinstance(await anext(items), Delta):
            pass
        await asked.aclose()
        rest = [item async for item in items]
        assert isinstance(rest[-1], End)
        assert rest[-1].error is not None
        assert rest[-1].error.kind == "connection"


# --- deadlines ---


@in_a_loop
async def test_silence_before_the_first_byte_is_a_timeout() -> None:
    for steps in ((hang,), (STREAM, hang)):
        error = await refused(*steps, deadlines=Deadlines(first_byte_s=0.2))
        assert (error.kind, error.reason) == ("timeout", "first_byte")


@pytest.mark.parametrize(
    ("steps", "reason"),
    [
        ((hang,), "idle_bytes"),
        ((trickle(b": keep-alive\n\n", 0.05),), "idle_payload"),
        ((trickle(b":", 0.05),), "idle_payload"),
        ((trickle(HELLO, 0.05),), "total"),
    ],
)
@in_a_loop
async def test_a_deadline_in_the_stream_keeps_the_text(steps: Any, reason: str) -> None:
    items, end = await ended(STREAM, HELLO, *steps, deadlines=QUICK)
    assert text_of(items).startswith("Hello")
    assert end.error is not None
    assert (end.eof, end.error.kind, end.error.reason) == ("cut", "timeout", reason)


@in_a_loop
async def test_a_finished_reply_is_whole_though_the_connection_stays_open() -> None:
    items, end = await ended(STREAM, HELLO + FINISH + USAGE, hang, deadlines=QUICK)
    assert (end.eof, end.error) == ("finish-only", None)
    assert any(isinstance(item, Usage) for item in items)


@in_a_loop
async def test_keep_alives_are_told_as_waiting_at_most_once_a_second() -> None:
    deadlines = Deadlines(total_s=1.3)
    items, _ = await ended(STREAM, trickle(b": keep-alive\n\n", 0.05), deadlines=deadlines)
    assert items.count(Waiting()) == 1


# --- what goes wrong ---


@in_a_loop
async def test_nobody_listens() -> None:
    async with serving() as server:
        at = endpoint(server)
    async with client() as asked:
        with pytest.raises(GatewayError) as caught:
            await read(asked, at)
    assert (caught.value.kind, caught.value.reason) == ("connection", "refused")


NO_ADDRESSES = ["nonsense", "ftp://127.0.0.1/v1", "http://", "http://[::1/v1", "http://a..b/v1"]
NO_ADDRESSES += ["http://127.0.0.1:99999/v1", "http://\x00/v1", "http://user:x@127.0.0.1/v1"]


@pytest.mark.parametrize("url", NO_ADDRESSES)
@in_a_loop
async def test_an_address_that_is_none(url: str) -> None:
    async with client() as asked:
        with pytest.raises(GatewayError) as caught:
            await read(asked, Endpoint("a", url, key="k"))
    assert (caught.value.kind, caught.value.reason) == ("connection", "url")


@in_a_loop
async def test_tls_is_expected_and_not_spoken() -> None:
    async def greet(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 This is plain HTTP\r\n\r\n")
        writer.close()

    async with await asyncio.start_server(greet, "127.0.0.1", 0) as server, client() as asked:
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(GatewayError) as caught:
            await read(asked, Endpoint("a", f"https://127.0.0.1:{port}/v1"))
    assert (caught.value.kind, caught.value.reason) == ("connection", "tls")


@pytest.mark.parametrize(
    ("steps", "kind"),
    [
        ((), "connection"),
        ((reset,), "connection"),
        ((b"SSH-2.0-OpenSSH\r\n\r\n",), "protocol"),
        ((STREAM,), "connection"),
        ((response(200, {}, b"<!DOCTYPE html><title>Log in</title>"),), "protocol"),
        ((response(200, {}, b"  {broken"),), "protocol"),
        ((response(200, {}, b'{"ok":true}'),), "protocol"),
        ((response(200, {}, b"[" * 100_000),), "protocol"),
        ((response(301, {"Location": "/elsewhere"}, b"moved"),), "protocol"),
        ((response(200, {"Content-Encoding": "br"}, HELLO),), "protocol"),
        ((response(200, {"Content-Encoding": "gzip"}, HELLO),), "protocol"),
    ],
)
@in_a_loop
async def test_what_is_no_stream_is_an_error_before_it_opens(steps: Any, kind: str) -> None:
    if steps == (STREAM,):
        _, end = await ended(*steps)
        assert end.error is not None
        assert (end.eof, end.error.kind) == ("cut", kind)
        return
    error = await refused(*steps)
    assert (error.kind, error.message) == (kind, None)


@pytest.mark.parametrize("how", [reset, None], ids=["reset", "short"])
@in_a_loop
async def test_a_connection_that_drops_keeps_the_text_and_what_was_held_back(how: Any) -> None:
    held = b'data: {"choices":[{"delta":{"content":" <th"}}]}\n\n'
    head = STREAM.replace(b"Connection", b"Content-Length: 9999\r\nConnection")

    async def pause(_reader: Any, _writer: Any) -> None:
        await asyncio.sleep(0.05)

    items, end = await ended(head, HELLO + held, pause, *([how] if how else []))
    assert text_of(items) == "Hello <th"
    assert end.error is not None
    assert (end.eof, end.error.kind) == ("cut", "connection")


@in_a_loop
async def test_an_error_in_the_stream_ends_it_soon_and_late_usage_counts() -> None:
    error = b'data: {"error":{"message":"boom","code":502}}\n\n'
    late = b'data: {"choices":[{"delta":{"content":"late"}}]}\n\n'
    items, end = await ended(STREAM, HELLO, error, USAGE, late, hang)
    assert text_of(items) == "Hello"
    assert any(isinstance(item, Usage) for item in items)
    assert end.error is not None
    assert (end.eof, end.error.kind, end.error.message) == ("error", "server", "boom")


@in_a_loop
async def test_a_redirect_is_not_followed() -> None:
    async with serving(STREAM + HELLO + DONE) as other:
        answer = response(307, {"Location": other.base_url + "/chat/completions"}, b"")
        error = await refused(answer)
        assert (error.kind, error.status, error.reason) == ("protocol", 307, "redirect")
        assert other.heads == []


@in_a_loop
async def test_an_echoed_key_is_blotted_out() -> None:
    error = await refused(response(401, {}, b'{"error":"no sk-secret-key here"}'))
    assert error.message == "no *** here"


@in_a_loop
async def test_a_private_address_is_refused_where_it_must_be() -> None:
    async with serving(STREAM) as server, client() as asked:
        for url in (server.base_url, server.base_url.replace("127.0.0.1", "localhost")):
            with pytest.raises(GatewayError) as caught:
                await read(asked, Endpoint("a", url, allow_private=False))
            assert (caught.value.kind, caught.value.reason) == ("connection", "forbidden")
        assert server.connections == 0


@in_a_loop
async def test_an_endless_error_body_is_read_only_so_far() -> None:
    head = b"HTTP/1.1 500 X\r\nContent-Type: text/plain\r\nConnection: close\r\n\r\n"
    async with serving(head, trickle(b"x" * 10_000, 0)) as server, client() as asked:
        with pytest.raises(GatewayError) as caught:
            await read(asked, endpoint(server))
        await asyncio.wait_for(server.left.wait(), 1)
    assert (caught.value.kind, len(caught.value.message or "")) == ("server", 500)


# --- other bodies ---


@in_a_loop
async def test_a_stream_in_another_guise_is_a_stream() -> None:
    plain = {"Content-Type": "text/plain"}
    for body in (HELLO + DONE, b"\n\n" + HELLO + DONE, b"\xef\xbb\xbf" + HELLO + DONE):
        items, end = await ended(response(200, plain, body))
        assert (text_of(items), end.error) == ("Hello", None)


@in_a_loop
async def test_a_completion_after_white_space_is_a_reply() -> None:
    choice = {"message": {"content": "a<think>b</think>", "reasoning": "r"}}
    body = b"\n   \n" + json.dumps({"choices": [choice]}).encode()
    items, end = await ended(response(200, {}, body))
    assert items[1] == Delta("a", "rb")
    assert (end.eof, end.error) == ("clean", None)


@in_a_loop
async def test_a_compressed_stream_is_read() -> None:
    body = gzip.compress(HELLO + DONE)
    items, end = await ended(response(200, {"Content-Encoding": "gzip"}, body))
    assert (text_of(items), end.error) == ("Hello", None)


# --- bounds ---


@pytest.mark.parametrize(
    ("body", "encoding"),
    [
        (HELLO + b"data: " + b"x" * 40_000_000, "identity"),
        (gzip.compress(HELLO + b"data: " + b"x" * 200_000_000), "gzip"),
        (gzip.compress(HELLO + b": x\n" * 20_000_000), "gzip"),
        (HELLO + EMPTY * 110_000, "identity"),
    ],
    ids=["endless line", "bomb", "comments", "empty deltas"],
)
@in_a_loop
async def test_a_hostile_body_ends_in_bounded_memory_and_keeps_the_text(
    body: bytes, encoding: str
) -> None:
    answer = response(200, {"Content-Encoding": encoding}, body)
    # The server is in this process too: it must not copy the whole into its buffer.
    pieces = [answer[at : at + 65536] for at in range(0, len(answer), 65536)]
    tracemalloc.start()
    try:
        items, end = await ended(*pieces, max_body_bytes=60_000_000)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert text_of(items) == "Hello"
    assert end.error is not None
    assert end.error.kind == "protocol"
    assert end.error.reason in ("too_long", "no_progress")
    assert peak < 40_000_000


@in_a_loop
async def test_a_reply_above_its_bound_ends_with_what_fits() -> None:
    items, end = await ended(STREAM, trickle(HELLO, 0), max_reply_bytes=12)
    assert text_of(items) == "HelloHelloHe"
    assert end.error is not None
    assert (end.error.kind, end.error.reason) == ("protocol", "too_long")


# --- complete, models, balance ---


@in_a_loop
async def test_complete_gives_the_whole_reply_whether_streamed_or_not() -> None:
    choice = {"message": {"content": "Hello"}, "finish_reason": "stop"}
    whole = json.dumps({"choices": [choice], "usage": {"prompt_tokens": 3}}).encode()
    for answer in (response(200, {}, whole), STREAM + HELLO + FINISH + USAGE + DONE):
        async with serving(answer) as server, client() as asked:
            completion = await asked.complete(endpoint(server), BODY)
        assert (completion.text, completion.finish_reason) == ("Hello", "stop")
        assert completion.usage is not None
        assert completion.usage.prompt_tokens == 3


@in_a_loop
async def test_complete_raises_for_what_is_not_complete_and_has_a_deadline() -> None:
    async with serving(STREAM + HELLO) as server, client() as asked:
        with pytest.raises(GatewayError) as caught:
            await asked.complete(endpoint(server), BODY)
        assert caught.value.kind == "connection"
    async with serving(hang) as server, client() as asked:
        with pytest.raises(GatewayError) as caught:
            await asked.complete(endpoint(server), BODY, total_s=0.1)
        assert (caught.value.kind, caught.value.reason) == ("timeout", "total")
        await asyncio.wait_for(server.left.wait(), 1)


@in_a_loop
async def test_models_are_listed_and_a_failure_is_an_error() -> None:
    async with serving(response(200, {}, b'{"data":[{"id":"m"}]}')) as server, client() as asked:
        assert [model.id for model in await asked.models(endpoint(server))] == ["m"]
        assert server.heads[0].startswith("GET /v1/models ")
    for answer in (b"<html>", b'{"error":"no"}', b"", b"garbage"):
        async with serving(response(200, {}, answer)) as server, client() as asked:
            with pytest.raises(GatewayError):
                await asked.models(endpoint(server))


@pytest.mark.parametrize(
    ("slug", "base_url", "vendor"),
    [
        ("mine", "https://openrouter.ai/api/v1", "openrouter"),
        ("mine", "https://API.aitunnel.ru/v1/", "aitunnel"),
        ("aitunnel", "http://127.0.0.1:9/v1", "aitunnel"),
        ("mine", "https://openrouter.ai.evil.example/v1", "mine"),
        ("mine", "no address", "mine"),
    ],
)
def test_a_gateway_is_known_by_its_host_whatever_it_is_called(
    slug: str, base_url: str, vendor: str
) -> None:
    assert Endpoint(slug, base_url).vendor == vendor


@pytest.mark.parametrize(
    ("slug", "path", "body", "left"),
    [
        ("aitunnel", "/v1/aitunnel/balance", b'{"balance":12.5}', Decimal("12.5")),
        (
            "openrouter",
            "/v1/credits",
            b'{"data":{"total_credits":3,"total_usage":1}}',
            Decimal(2),
        ),
        ("other", None, b"", None),
    ],
)
@in_a_loop
async def test_the_balance_is_asked_where_there_is_a_way(
    slug: str, path: str | None, body: bytes, left: Decimal | None
) -> None:
    async with serving(response(200, {}, body)) as server, client() as asked:
        assert await asked.balance(Endpoint(slug, server.base_url + "/")) == left
        assert [head.split(" ")[1] for head in server.heads] == ([path] if path else [])
