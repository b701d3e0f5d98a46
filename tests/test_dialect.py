"""What a chunk means, in the dialects that the recordings do not already show."""

import json
import time
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chat.upstream import dialect
from chat.upstream.dialect import Delta, Failure, Finish, Image, Link, Reader, ToolCalls
from chat.upstream.items import End, Item
from chat.upstream.sse import Event
from chat.upstream.usage import Usage

DONE = b"[DONE]"


def chunk(delta: object = None, finish: object = None, **more: object) -> bytes:
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    return json.dumps({"choices": [choice], **more}).encode()


def say(text: object) -> bytes:
    return chunk({"content": text})


def read(*payloads: bytes, **bounds: Any) -> tuple[list[Item], End]:
    reader = Reader(**bounds)
    items = [item for payload in payloads for item in reader.feed(Event(payload))]
    return items + reader.end(), reader.outcome()


def shown(*payloads: bytes, **bounds: Any) -> tuple[str, str]:
    items, _ = read(*payloads, **bounds)
    deltas = [item for item in items if isinstance(item, Delta)]
    return "".join(d.text for d in deltas), "".join(d.reasoning for d in deltas)


# --- text and reasoning ---


@pytest.mark.parametrize(
    ("delta", "text", "reasoning"),
    [
        (None, "", ""),
        ({"content": None}, "", ""),
        ({"content": 7}, "", ""),
        ({"content": ["a", {"type": "text", "text": "b"}, {"text": "c"}, 3, None]}, "abc", ""),
        ({"content": [{"type": "thinking", "thinking": "a"}]}, "", "a"),
        ({"content": [{"type": "thinking", "thinking": [{"text": "a"}]}]}, "", "a"),
        ({"content": "a", "refusal": "b"}, "ab", ""),
        ({"reasoning_content": "a", "reasoning": "a"}, "", "a"),
        ({"reasoning": "a", "reasoning_details": [{"text": "a"}]}, "", "a"),
        ({"reasoning": None, "reasoning_details": [{"text": "a"}, {"data": "x"}]}, "", "a"),
        ({"reasoning_details": [{"type": "reasoning.summary", "summary": "a"}]}, "", "a"),
        ({"reasoning_content": {"odd": 1}, "reasoning": "a"}, "", "a"),
    ],
)
def test_a_delta_in_any_shape(delta: object, text: str, reasoning: str) -> None:
    assert shown(chunk(delta)) == (text, reasoning)


def test_only_choice_0_is_read_and_a_missing_index_is_0() -> None:
    choices = [{"index": 1, "delta": {"content": "no"}}, {"delta": {"content": "a"}}]
    choices.append({"delta": {"content": "nor this"}})
    choices.append({"index": "0", "delta": {"content": "b"}})
    assert shown(json.dumps({"choices": choices}).encode()) == ("ab", "")


def test_message_and_text_beside_a_delta_are_ignored() -> None:
    choice = {"delta": {"content": "a"}, "message": {"content": "whole"}, "text": "t"}
    assert shown(json.dumps({"choices": [choice]}).encode()) == ("a", "")


def test_a_whole_completion_in_an_event_is_read() -> None:
    choices = [{"message": {"content": "whole"}, "finish_reason": "stop"}]
    payload = json.dumps({"object": "chat.completion", "choices": choices}).encode()
    assert shown(payload) == ("whole", "")


@pytest.mark.parametrize(
    ("payloads", "text"),
    [
        ([rb'{"choices":[{"delta":{"content":"a\u0000b\u001bc\td\n"}}]}'], "abc\td\n"),
        ([b'{"choices":[{"delta":{"content":"a\x0bb\x00"}}]}'], "ab"),
        ([b'{"choices":[{"delta":{"content":"a\xffb"}}]}'], "a\N{REPLACEMENT CHARACTER}b"),
        ([rb'{"choices":[{"delta":{"content":"a\ud83dx"}}]}'], "a\N{REPLACEMENT CHARACTER}x"),
        ([rb'{"choices":[{"delta":{"content":"\ud83d"}}]}'], "\N{REPLACEMENT CHARACTER}"),
        (
            [
                rb'{"choices":[{"delta":{"content":"a\ud83d"}}]}',
                rb'{"choices":[{"delta":{"content":""}}]}',
                rb'{"choices":[{"delta":{"reasoning":"r"}}]}',
                rb'{"choices":[{"delta":{"content":"\ude80b"}}]}',
            ],
            "a🚀b",
        ),
        (
            [
                rb'{"choices":[{"delta":{"content":"a\ud83d"}}]}',
                rb'{"choices":[{"delta":{"content":"b"}}]}',
            ],
            "a\N{REPLACEMENT CHARACTER}b",
        ),
    ],
)
def test_text_is_clean_and_a_surrogate_pair_may_be_cut(payloads: list[bytes], text: str) -> None:
    assert shown(*payloads)[0] == text


@pytest.mark.parametrize(
    "payload",
    [
        b"ping",
        b"",
        b"[keep-alive]",
        b"null",
        b"1",
        b'"x"',
        b"[]",
        b'{"code": 200, "message": "ok"}',
    ],
)
def test_a_payload_that_is_no_chunk_is_a_keep_alive(payload: bytes) -> None:
    items, end = read(say("a"), payload, say("b"), DONE)
    assert [item for item in items if isinstance(item, Delta)] == [Delta("a"), Delta("b")]
    assert end.error is None


@pytest.mark.parametrize("done", [b"[DONE]", b" [DONE] ", b"[done]", b'"[DONE]"', b"DONE"])
def test_done_in_any_spelling_ends_the_stream(done: bytes) -> None:
    items, end = read(say("a"), done, say("late"))
    assert (items, end.eof) == ([Delta("a")], "clean")


# --- how it ends ---


def test_a_finish_word_without_done_is_a_clean_end() -> None:
    items, end = read(say("a"), chunk({"content": "b"}, "stop"))
    assert items == [Delta("a"), Delta("b"), Finish("stop")]
    assert (end.eof, end.done, end.error) == ("finish-only", False, None)


def test_neither_finish_nor_done_is_a_cut() -> None:
    _, end = read(say("a"))
    assert end.error is not None
    assert (end.eof, end.error.kind, end.text_seen) == ("cut", "connection", True)


@pytest.mark.parametrize(
    ("payloads", "kind", "reason"),
    [
        ([DONE], "empty", None),
        ([chunk({}, "content_filter")], "empty", "content_filter"),
        ([chunk({"tool_calls": [{"id": "1"}]}, "tool_calls"), DONE], "tool_calls", None),
        ([chunk({"function_call": {"name": "f"}}, "function_call")], "tool_calls", None),
    ],
)
def test_a_clean_end_with_nothing_is_an_error(
    payloads: list[bytes], kind: str, reason: str | None
) -> None:
    items, end = read(*payloads)
    assert end.error is not None
    assert (end.error.kind, end.error.reason) == (kind, reason)
    assert items[-1] == Failure(end.error)


def test_tool_calls_are_told_once_and_text_beside_them_is_a_reply() -> None:
    call = chunk({"content": "a", "tool_calls": [{"id": "1"}]})
    items, end = read(call, call, DONE)
    assert items.count(ToolCalls()) == 1
    assert end.error is None


@pytest.mark.parametrize(
    ("payload", "kind", "message"),
    [
        (b'{"error":"boom"}', "server", "boom"),
        (b'{"error":{"message":"boom","code":429}}', "rate_limit", "boom"),
        (b'{"error":{"message":"boom","code":"402"}}', "balance", "boom"),
        (b'{"error":{"message":"<html>boom</html>"}}', "server", None),
        (b'{"object":"error","message":"boom","code":400}', "bad_request", "boom"),
        (b'{"detail":"boom"}', "server", "boom"),
        (b'[{"error":{"message":"boom","status":"RESOURCE_EXHAUSTED"}}]', "rate_limit", "boom"),
        (b'{"choices":[{"delta":{},"error":{"message":"boom","code":502}}]}', "server", "boom"),
        (b'{"choices":[{"delta":{},"finish_reason":"error"}]}', "server", None),
        (b'{"choices":[{"delta":{"content":', "protocol", None),
        (b'{"a":' * 100_000, "protocol", None),
    ],
)
def test_an_error_in_the_stream_wins_and_the_text_before_it_is_kept(
    payload: bytes, kind: str, message: str | None
) -> None:
    usage = b'{"choices":[],"usage":{"prompt_tokens":1}}'
    items, end = read(say("a<th"), payload, say("late"), usage, chunk({}, "stop"), DONE)
    assert "".join(item.text for item in items if isinstance(item, Delta)) == "a<th"
    assert any(isinstance(item, Usage) for item in items)
    assert end.error is not None
    assert (end.eof, end.done) == ("error", False)
    assert (end.error.kind, end.error.message) == (kind, message)
    assert items[-1] == Failure(end.error)


@pytest.mark.parametrize("data", [b"upstream failed", b'{"message":"upstream failed"}'])
def test_an_error_event_is_an_error_whatever_it_holds(data: bytes) -> None:
    reader = Reader()
    reader.feed(Event(data, name="error"))
    assert reader.error is not None
    assert (reader.error.kind, reader.error.message) == ("server", "upstream failed")


def test_a_key_that_the_gateway_echoes_is_blotted_out() -> None:
    payload = json.dumps({"error": "bad key tok_1234, sk-proj-abc123456 too"}).encode()
    _, end = read(payload, secret="tok_1234")
    assert end.error is not None
    assert end.error.message == "bad key ***, *** too"


def test_a_chunk_that_the_end_cut_short_is_a_cut_and_no_garbage() -> None:
    reader = Reader()
    reader.feed(Event(say("a")))
    assert reader.feed(Event(b'{"choices":[{"del', is_whole=False)) == []
    reader.end()
    assert reader.outcome().eof == "cut"


def test_a_connection_lost_after_the_finish_word_does_not_spoil_the_reply() -> None:
    reader = Reader()
    reader.feed(Event(chunk({"content": "a"}, "stop")))
    reader.lose(dialect.GatewayError("timeout"))
    assert (reader.end(), reader.outcome().error) == ([], None)


# --- usage ---


def usage(report: object, **more: object) -> Usage:
    items, _ = read(json.dumps({"choices": [], "usage": report, **more}).encode())
    return next(item for item in items if isinstance(item, Usage))


def test_the_last_usage_is_the_calls_and_the_same_one_is_told_once() -> None:
    reports = [{"prompt_tokens": 1, "completion_tokens": n} for n in (1, 1, 2)]
    items, _ = read(*(chunk({"content": "a"}, usage=report) for report in reports))
    counts = [item.completion_tokens for item in items if isinstance(item, Usage)]
    assert counts == [1, 2]


@pytest.mark.parametrize("report", [None, {}, [], "x", {"prompt_tokens": None}])
def test_a_usage_that_says_nothing_is_unknown(report: object) -> None:
    items, _ = read(chunk({"content": "a"}, usage=report))
    assert items[0] == Delta("a")
    assert not any(isinstance(item, Usage) for item in items)


@pytest.mark.parametrize("absurd", [-1, True, 1.5, "7", 10**9 + 1, 1e300, [], float("nan")])
def test_an_absurd_figure_is_unknown_and_the_report_is_kept(absurd: object) -> None:
    told = usage({"prompt_tokens": absurd, "completion_tokens": 2.0})
    assert (told.prompt_tokens, told.completion_tokens) == (None, 2)
    assert "prompt_tokens" in told.raw
    json.dumps(told.raw, allow_nan=False)


@pytest.mark.parametrize(
    ("report", "cached", "reasoning"),
    [
        ({"prompt_tokens_details": {"cached_tokens": 3}, "prompt_cache_hit_tokens": 9}, 3, None),
        ({"prompt_cache_hit_tokens": 0}, 0, None),
        ({"num_cached_tokens": 3}, 3, None),
        ({"precached_prompt_tokens": 3}, 3, None),
        ({"prompt_tokens_details": None, "completion_tokens_details": []}, None, None),
        ({"completion_tokens_details": {"reasoning_tokens": 5}}, None, 5),
        ({"reasoning_tokens": 5}, None, 5),
    ],
)
def test_cached_and_reasoning_tokens_by_any_name(
    report: dict[str, object], cached: int | None, reasoning: int | None
) -> None:
    told = usage({"prompt_tokens": 4, **report})
    assert (told.cached_tokens, told.reasoning_tokens) == (cached, reasoning)


@pytest.mark.parametrize(
    ("report", "cost", "currency"),
    [
        ({"cost": 0.1}, "0.1", None),
        ({"cost": "0.10"}, "0.10", None),
        ({"cost": 0}, "0", None),
        ({"cost": {"total_cost": 1e-07, "input": 1}}, "1E-7", None),
        ({"cost_rub": 0.0153, "cost": 9}, "0.0153", "RUB"),
        ({"cost_in_usd_ticks": 3080400}, "0.00030804", "USD"),
        ({"cost_in_usd_ticks": "3080400"}, "0.00030804", "USD"),
        ({"cost": -1}, None, None),
        ({"cost": True}, None, None),
        ({"cost": "free"}, None, None),
        ({"cost": float("inf")}, None, None),
    ],
)
def test_cost_and_its_currency(
    report: dict[str, object], cost: str | None, currency: str | None
) -> None:
    told = usage({"prompt_tokens": 4, **report})
    assert told.cost == (None if cost is None else Decimal(cost))
    assert told.currency == currency


def test_groqs_usage_counts_only_where_there_is_no_other() -> None:
    groq = {"x_groq": {"usage": {"prompt_tokens": 1}}}
    assert usage(None, **groq).prompt_tokens == 1
    assert usage({"prompt_tokens": 2}, **groq).prompt_tokens == 2


def test_a_raw_report_is_storable_and_bounded() -> None:
    report = {"prompt_tokens": 1, "a\0": "x\0" * 9999, "deep": [[[[[[1]]]]]], "n": 10**40}
    told = usage({**report, **{str(n): n for n in range(1000)}})
    stored = json.dumps(told.raw)
    assert "\\u0000" not in stored
    assert len(stored) < 10_000


# --- what comes beside the text ---


def test_images_and_links_are_told() -> None:
    picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA"}}
    note = {"type": "url_citation", "url_citation": {"url": "https://a.example", "title": "A"}}
    items, _ = read(
        chunk({"images": [picture], "annotations": [note]}),
        chunk({"content": [picture]}),
        chunk({"content": "x"}, citations=["https://a.example", "https://b.example"]),
        chunk({"annotations": [{"url": "javascript:alert(1)"}], "images": [{"image_url": 1}]}),
    )
    assert items.count(Image("data:image/png;base64,AA")) == 2
    links = [item for item in items if isinstance(item, Link)]
    assert links == [Link("https://a.example", "A"), Link("https://b.example")]


# --- bounds ---


def test_a_reply_above_the_bound_fails_and_keeps_what_fits() -> None:
    assert shown(say("ёё"), say("ёё"), say("late"), max_reply_bytes=7) == ("ёёё", "")
    _, end = read(say("ёё"), say("ёё"), max_reply_bytes=7)
    assert end.error is not None
    assert (end.error.kind, end.error.reason) == ("protocol", "too_long")


def test_chunks_that_never_say_anything_end_the_stream() -> None:
    reader = Reader()
    empty = [Event(say(""))] * 1000
    while not reader.error:
        assert reader.feed_all(empty) == []
    assert (reader.error.kind, reader.error.reason) == ("protocol", "no_progress")


def test_half_a_megabyte_in_a_chunk_is_read() -> None:
    text = "слово " * 80_000
    assert shown(say(text)) == (text, "")


def test_deltas_of_white_space_in_a_block_take_linear_time() -> None:
    started = time.process_time()
    payloads = [say("<think>a"), *[say(" ")] * 20_000, say("b</think>c")]
    text, reasoning = shown(*payloads)
    assert (text, reasoning) == ("c", "a" + " " * 20_000 + "b")
    assert time.process_time() - started < 5


# --- both ways through give the same ---

TEXTS = st.sampled_from(["", "a", "é", "<think>", "</think>", "`", "\n", "\x00", "🚀"])
ODD = st.sampled_from([None, 0, 1.0, [], {}, [{"type": "text", "text": "p"}], True])
FIELDS = ["content", "reasoning_content", "reasoning", "refusal", "reasoning_details", "role"]
DELTAS = st.dictionaries(st.sampled_from([*FIELDS, "tool_calls"]), TEXTS | ODD)
FINISHES = st.sampled_from([None, "", "stop", "length", "error", 5])
CHOICES = st.fixed_dictionaries(
    {"delta": DELTAS | st.none()},
    optional={"index": st.sampled_from([0, 0, 1, None, "0"]), "finish_reason": FINISHES},
)
REPORTS = st.sampled_from([None, {"prompt_tokens": 1}, {"prompt_tokens": None}, 0])
CHUNKS = st.fixed_dictionaries(
    {},
    optional={
        "choices": st.lists(CHOICES, max_size=2) | st.none(),
        "usage": REPORTS,
        "error": st.sampled_from([None, "boom", {}, {"message": "boom"}]),
    },
)


@given(st.lists(CHUNKS, max_size=8))
def test_the_fast_way_and_the_tolerant_way_give_the_same(chunks: list[dict[str, Any]]) -> None:
    payloads = [json.dumps(each).encode() for each in chunks]
    fast, tolerant = Reader(), Reader()
    items = [item for payload in payloads for item in fast.feed(Event(payload))] + fast.end()
    # A named event never takes the fast way.
    others = [item for payload in payloads for item in tolerant.feed(Event(payload, "message"))]
    others += tolerant.end()
    assert [repr(item) for item in items] == [repr(item) for item in others]
    assert repr(fast.outcome()) == repr(tolerant.outcome())


@given(st.lists(CHUNKS, max_size=8))
def test_events_read_together_say_what_they_say_one_by_one(chunks: list[dict[str, Any]]) -> None:
    payloads = [json.dumps(each).encode() for each in chunks]
    together = Reader()
    items = together.feed_all([Event(payload) for payload in payloads]) + together.end()
    deltas = [item for item in items if isinstance(item, Delta)]
    assert ("".join(d.text for d in deltas), "".join(d.reasoning for d in deltas)) == shown(
        *payloads
    )
    assert repr(together.outcome()) == repr(read(*payloads)[1])


@given(st.recursive(st.none() | st.booleans() | st.floats() | st.text(), st.lists))
def test_no_json_breaks_the_reader(value: object) -> None:
    for document in (value, {"choices": value}, {"choices": [{"delta": value}]}, {"usage": value}):
        read(json.dumps(document).encode())
        reader = Reader()
        reader.feed_document(document)
        reader.end()
