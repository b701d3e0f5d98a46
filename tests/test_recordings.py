"""Every stream and answer at hand means what its index says, however it is cut."""

from collections.abc import Iterable

from hypothesis import given
from hypothesis import strategies as st

from chat.rendering.clean import clean
from chat.upstream import refusal
from chat.upstream.dialect import Delta, End, Image, Item, Link, Reader, ToolCalls
from chat.upstream.sse import Parser
from chat.upstream.usage import Usage
from tests import recordings
from tests.recordings import Answer, Stream


def read(pieces: Iterable[bytes]) -> tuple[list[Item], End]:
    parser, reader, items = Parser(), Reader(), []
    for piece in pieces:
        for event in parser.feed(piece):
            items += reader.feed(event)
    for event in parser.flush():
        items += reader.feed(event)
    items += reader.end()
    return items, reader.outcome()


def joined(items: list[Item]) -> tuple[str, str]:
    deltas = [item for item in items if isinstance(item, Delta)]
    return "".join(d.text for d in deltas), "".join(d.reasoning for d in deltas)


def bytewise(body: bytes) -> list[bytes]:
    return [body[at : at + 1] for at in range(len(body))]


@recordings.each(recordings.streams())
def test_a_stream_means_what_its_index_says(case: Stream) -> None:
    items, end = read([case.body])
    expected = case.expected
    assert joined(items) == (clean(case.text), clean(case.reasoning))
    assert end.finish_reason == expected["finish_reason"]
    assert (end.eof, end.done) == (expected["eof"], expected["done"])
    assert _usage(items) == _expected_usage(expected)
    assert any(isinstance(item, ToolCalls) for item in items) == bool(expected.get("tool_calls"))
    assert sum(isinstance(item, Image) for item in items) == expected.get("images", 0)
    links = expected.get("annotation_urls") or expected.get("citations") or []
    assert [item.url for item in items if isinstance(item, Link)] == list(dict.fromkeys(links))
    if expected["error"]:
        assert end.error is not None
        assert expected["error"]["message"] in (end.error.message or "")


@recordings.each(recordings.streams())
def test_a_stream_fed_byte_by_byte_means_the_same(case: Stream) -> None:
    whole, end = read([case.body])
    items, end_bytewise = read(bytewise(case.body))
    assert _comparable(items, end_bytewise) == _comparable(whole, end)


@given(st.data())
def test_a_stream_cut_anywhere_means_the_same(data: st.DataObject) -> None:
    body = data.draw(st.sampled_from(recordings.streams())).body
    cuts = sorted(data.draw(st.sets(st.integers(0, len(body)), max_size=8)))
    pieces = [body[a:b] for a, b in zip([0, *cuts], [*cuts, len(body)], strict=True)]
    assert _comparable(*read(pieces)) == _comparable(*read([body]))


@given(st.data())
def test_a_stream_that_stops_anywhere_gives_a_prefix_and_is_never_complete_without_a_sign(
    data: st.DataObject,
) -> None:
    stream = data.draw(st.sampled_from(recordings.streams()))
    stop = data.draw(st.integers(0, len(stream.body)))
    text, reasoning = joined(read([stream.body])[0])
    items, end = read([stream.body[:stop]])
    some_text, some_reasoning = joined(items)
    assert reasoning.startswith(some_reasoning)
    assert text.startswith(some_text) or "think_split" in stream.expected
    if not end.done and end.finish_reason is None:
        assert end.error is not None


@recordings.each(recordings.answers())
def test_an_http_error_is_read_as_its_index_says(case: Answer) -> None:
    if case.status == 200:
        return  # test_client.py serves these
    error = refusal.from_response(case.status, case.headers, case.body)
    assert error.kind == case.expected["kind"]
    assert error.retry_after_s == case.expected.get("retry_after")
    shown = case.expected["message"]
    assert shown in error.message if shown else error.message is None
    assert "<" not in (error.message or "")


def _usage(items: list[Item]) -> dict[str, object] | None:
    reports = [item for item in items if isinstance(item, Usage)]
    if not reports:
        return None
    names = ("prompt_tokens", "completion_tokens", "total_tokens")
    names += ("cached_tokens", "reasoning_tokens")
    figures = {name: getattr(reports[-1], name) for name in names}
    return {name: value for name, value in figures.items() if value is not None} | {
        "raw": reports[-1].raw
    }


def _expected_usage(expected: dict[str, object]) -> dict[str, object] | None:
    usage = expected["usage"]
    if not isinstance(usage, dict):
        return None
    figures = {name: value for name, value in usage.items() if name.endswith("_tokens")}
    return figures | {"raw": expected["usage_raw"]}


def _comparable(items: list[Item], end: End) -> object:
    others = [item for item in items if not isinstance(item, Delta)]
    shown = [repr(item) for item in others]
    error = end.error and str(end.error)
    return joined(items), shown, error, end.eof, end.finish_reason, end.done
