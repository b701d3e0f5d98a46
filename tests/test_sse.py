"""The event-stream rules of the WHATWG HTML standard, section 9.2.6, and our bounds."""

import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chat.upstream.sse import Event, Parser

ENDS = [b"\n", b"\r", b"\r\n"]


def parse(*pieces: bytes, max_event_bytes: int = 1000) -> list[Event]:
    parser = Parser(max_event_bytes)
    events = [event for piece in pieces for event in parser.feed(piece)]
    return events + parser.flush()


def told(body: bytes) -> list[tuple[str, bytes]]:
    """(name, data) of the events; the same from the whole body and from single bytes."""
    events = parse(body)
    assert parse(*(body[at : at + 1] for at in range(len(body)))) == events
    return [(event.name, event.data) for event in events]


@pytest.mark.parametrize("end", ENDS)
def test_each_kind_of_line_end_ends_a_line(end: bytes) -> None:
    lines = [b"event: add", b"data: 73857293", b"", b"event: remove", b"data: 2153", b"", b""]
    assert told(end.join(lines)) == [("add", b"73857293"), ("remove", b"2153")]


def test_data_lines_are_joined_by_a_line_feed() -> None:
    assert told(b"data: YHOO\ndata: +2\ndata: 10\n\n") == [("", b"YHOO\n+2\n10")]


def test_one_space_after_the_colon_is_dropped_and_no_more() -> None:
    assert told(b"data:test\n\ndata: test\n\ndata:  test\n\n") == [
        ("", b"test"),
        ("", b"test"),
        ("", b" test"),
    ]


def test_a_field_without_a_colon_has_an_empty_value() -> None:
    # "data" alone fires an event with empty data; the two lines, one with a line feed.
    assert told(b"data\n\ndata\ndata\n\ndata:") == [("", b""), ("", b"\n"), ("", b"")]


def test_an_event_without_data_is_none_and_its_name_is_forgotten() -> None:
    assert told(b"event: ping\n\ndata: x\n\n") == [("", b"x")]


def test_comments_and_unknown_fields_are_skipped() -> None:
    assert told(b": keep-alive\n\nretry: 10\nfoo: bar\n data: no\ndata: x\n\n") == [("", b"x")]


def test_comments_are_counted() -> None:
    parser = Parser()
    parser.feed(b": OPENROUTER PROCESSING\n\n:\n\n")
    assert parser.comments == 2


def test_an_id_stays_until_the_next_one_and_a_nul_in_it_is_ignored() -> None:
    events = parse(b"data: a\nid: 1\n\ndata: b\n\nid: 2\0\ndata: c\n\nid\ndata: d\n\n")
    assert [event.id for event in events] == ["1", "1", "1", ""]


def test_a_byte_order_mark_is_dropped_at_the_start_alone() -> None:
    mark = b"\xef\xbb\xbf"
    assert told(mark + b"data: a\n\n" + mark + b"data: b\n\ndata: c\n\n") == [
        ("", b"a"),
        ("", b"c"),
    ]


def test_other_unicode_line_ends_are_text() -> None:
    text = "a\u2028b\u0085c\x0bd\x0ce".encode()
    assert told(b"data: " + text + b"\n\n") == [("", text)]


def test_the_end_of_the_body_gives_the_event_it_cuts_and_says_so() -> None:
    assert parse(b"data: a\n\ndata: b") == [Event(b"a"), Event(b"b", is_whole=False)]
    assert parse(b"data: a\n\ndata: b\n") == [Event(b"a"), Event(b"b", is_whole=False)]


@given(
    st.lists(st.sampled_from([b"data: x", b"data:", b"event: e", b": c", b"", b"id: 7", b"q"])),
    st.data(),
)
def test_however_the_body_is_cut_the_events_are_the_same(
    lines: list[bytes], data: st.DataObject
) -> None:
    body = b"".join(line + data.draw(st.sampled_from(ENDS)) for line in lines)
    cuts = sorted(data.draw(st.sets(st.integers(0, len(body)))))
    pieces = [body[a:b] for a, b in zip([0, *cuts], [*cuts, len(body)], strict=True)]
    assert parse(*pieces) == parse(body)


PIECES = [
    b"data: x\n\n", b"data:x\n\n", b"data: x\r\n\r\n", b"data: x\r", b"\n", b": c\n", b": c\n\n",
    b"data: y\n", b"event: e\n", b"id: 7\n\n", b"data: \r\n\n", b"data: z", b"\xef\xbb\xbf",
]  # fmt: skip


@given(st.lists(st.sampled_from(PIECES)))
def test_an_event_a_read_is_read_as_all_in_one(pieces: list[bytes]) -> None:
    assert parse(*pieces) == parse(b"".join(pieces))


def test_an_event_a_read_is_held_to_the_same_bound() -> None:
    parser = Parser(max_event_bytes=1000)
    fits = b"data: " + b"x" * 994 + b"\n\n"
    assert [len(parser.feed(b"data: a\n\n")), len(parser.feed(fits))] == [1, 1]
    assert parser.feed(b"data: x" + fits[6:]) == []
    assert parser.overflowed


@given(st.binary(max_size=300))
def test_no_bytes_break_the_parser(body: bytes) -> None:
    told(body)


@pytest.mark.parametrize(
    "hostile",
    [b"data: " + b"x" * 1001, b": " + b"x" * 1001, b"data: xxxxxxxxx\n" * 100, b"x" * 1001],
    ids=["line", "comment", "event", "no line"],
)
def test_what_exceeds_the_bound_ends_the_stream_and_keeps_what_came_before(hostile: bytes) -> None:
    parser = Parser(max_event_bytes=1000)
    body = b"data: kept\n\n" + hostile + b"\n\ndata: late\n\n"
    assert parser.feed(body) + parser.flush() == [Event(b"kept")]
    assert parser.overflowed
    assert told(body) == [("", b"kept")]


def test_lines_that_never_make_an_event_end_the_stream() -> None:
    for line in (b": keep-alive\n", b"\n", b"unknown: x\n", b"event: x\n"):
        parser = Parser()
        parser.feed(line * 150_000 + b"data: x\n\n" + line * 150_000)
        assert not parser.overflowed
        parser.feed(line * 60_000)
        assert parser.overflowed


def test_an_endless_line_takes_bounded_memory() -> None:
    parser = Parser(max_event_bytes=100_000)
    tracemalloc.start()
    try:
        for _ in range(1000):
            parser.feed(b"x" * 10_000)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert parser.overflowed
    assert peak < 500_000
