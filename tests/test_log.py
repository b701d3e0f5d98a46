"""The log: whatever the pace of a reader, it has every word once and in order."""

import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chat.replies.log import Cursor, Gap, MemoryLogs, Slice

START = Cursor(1)


async def read_all(logs: MemoryLogs, cursor: Cursor = START) -> list[Slice]:
    return [piece async for piece in logs.follow(cursor)]


def texts(pieces: list[Slice]) -> tuple[str, str]:
    return "".join(p.reasoning for p in pieces), "".join(p.text for p in pieces)


async def turns(count: int = 3) -> None:
    """Let every task that is ready run."""
    for _ in range(count):
        await asyncio.sleep(0)


async def test_a_reader_gets_what_was_and_what_comes():
    logs = MemoryLogs()
    logs.open(START)
    logs.append(1, "hm", "")
    reader = asyncio.create_task(read_all(logs))
    await turns()
    logs.append(1, "", "Be")
    await turns()
    logs.append(1, "", "cause.")
    logs.close(1)
    pieces = await reader
    assert [(p.reasoning, p.text, p.closed) for p in pieces] == [
        ("hm", "", False),
        ("", "Be", False),
        ("", "cause.", True),
    ]
    assert pieces[-1].cursor == Cursor(1, 2, 8)


@pytest.mark.parametrize("reasoning", range(5))
@pytest.mark.parametrize("text", range(6))
async def test_a_reader_begins_anywhere(reasoning, text):
    logs = MemoryLogs()
    logs.open(START)
    for piece in ("ab", "", "cd"):
        logs.append(1, piece, piece + "e" if piece == "cd" else piece)
    logs.close(1)
    assert texts(await read_all(logs, Cursor(1, reasoning, text))) == (
        "abcd"[reasoning:],
        "abcde"[text:],
    )


async def test_a_slow_reader_catches_up_in_one_step():
    logs = MemoryLogs()
    logs.open(START)
    following = logs.follow(START)
    logs.append(1, "", "0")
    first = await anext(following)
    for number in range(1, 1000):
        logs.append(1, "", str(number))
    second = await anext(following)
    assert first.text + second.text == "".join(map(str, range(1000)))


async def test_words_that_come_with_the_end_reach_a_busy_reader():
    logs = MemoryLogs()
    logs.open(START)
    following = logs.follow(START)
    logs.append(1, "", "Be")
    assert (await anext(following)).text == "Be"
    logs.append(1, "", "cause.")
    logs.close(1)
    last = await anext(following)
    assert (last.text, last.closed) == ("cause.", True)


async def test_a_cursor_before_the_log_is_a_gap():
    logs = MemoryLogs()
    logs.open(Cursor(1, 0, 100))
    logs.append(1, "", "more")
    with pytest.raises(Gap):
        await anext(logs.follow(Cursor(1, 0, 99)))
    assert (await anext(logs.follow(Cursor(1, 0, 100)))).text == "more"


async def test_a_log_that_is_not_there_is_a_gap():
    with pytest.raises(Gap):
        await anext(MemoryLogs().follow(START))


async def test_a_reader_who_is_late_still_gets_all():
    logs = MemoryLogs()
    logs.open(START)
    logs.append(1, "hm", "Because.")
    logs.close(1)
    (piece,) = await read_all(logs)
    assert (piece.reasoning, piece.text, piece.closed) == ("hm", "Because.", True)


async def test_a_reader_who_has_all_learns_of_the_end():
    logs = MemoryLogs()
    logs.open(START)
    logs.append(1, "", "Because.")
    logs.close(1)
    (piece,) = await read_all(logs, Cursor(1, 0, 8))
    assert (piece.text, piece.closed) == ("", True)


async def test_a_note_is_told_and_gone_with_the_next_words():
    logs = MemoryLogs()
    logs.open(START)
    following = logs.follow(START)
    logs.tell(1, note="retry 2 7")
    assert (await anext(following)).note == "retry 2 7"
    logs.append(1, "", "Because.")
    assert (await anext(following)).note == ""


async def test_a_row_that_is_behind_is_told_and_taken_back():
    logs = MemoryLogs()
    logs.open(START)
    following = logs.follow(START)
    logs.tell(1, saved=False)
    assert not (await anext(following)).saved
    logs.tell(1, saved=True)
    assert (await anext(following)).saved


async def test_a_reader_who_leaves_disturbs_nobody():
    logs = MemoryLogs()
    logs.open(START)
    leaving, staying = (asyncio.create_task(read_all(logs)) for _ in range(2))
    await turns()
    leaving.cancel()
    await turns()
    logs.append(1, "", "Because.")
    logs.close(1)
    assert texts(await staying) == ("", "Because.")


async def test_closing_twice_is_closing():
    logs = MemoryLogs()
    logs.open(START)
    logs.close(1)
    logs.close(1)
    logs.close(2)
    assert len(await read_all(logs)) == 1


steps = st.lists(
    st.one_of(
        st.tuples(st.just("append"), st.text(max_size=3), st.text(max_size=3)),
        st.tuples(st.just("let read"), st.integers(0, 2), st.just("")),
        st.tuples(st.just("reopen"), st.integers(0, 2), st.just("")),
        st.tuples(st.just("tell"), st.sampled_from(["", "retry"]), st.just("")),
    ),
    max_size=30,
)


@settings(max_examples=60)
@given(steps, st.integers(0, 3), st.integers(0, 3))
def test_property_any_interleaving_yields_the_text_once(steps, reasoning, text):
    async def run() -> None:
        logs = MemoryLogs()
        base = Cursor(1, reasoning, text)
        logs.open(base)
        said = ["", ""]
        readers = [_Reader(logs, base) for _ in range(3)]
        for kind, one, two in steps:
            match kind:
                case "append":
                    logs.append(1, one, two)
                    said[0], said[1] = said[0] + one, said[1] + two
                case "let read":
                    await readers[one].step()
                case "reopen":
                    readers[one].reconnect()
                case "tell":
                    logs.tell(1, note=one, saved=not one)
        logs.close(1)
        for reader in readers:
            while not reader.is_over:
                await reader.step()
            assert reader.text == said

    asyncio.run(run())


class _Reader:
    """Reads a step when told; `reconnect` comes back from where it stands."""

    def __init__(self, logs: MemoryLogs, cursor: Cursor) -> None:
        self._logs, self._cursor = logs, cursor
        self.text, self.is_over = ["", ""], False
        self.reconnect()

    def reconnect(self) -> None:
        self._pieces = self._logs.follow(self._cursor)

    async def step(self) -> None:
        """One slice, where there is one without waiting."""
        reading = asyncio.ensure_future(anext(self._pieces))
        await turns()
        if not reading.done():
            reading.cancel()
            await turns()
            self.reconnect()
            return
        piece = reading.result()
        self._cursor, self.is_over = piece.cursor, piece.closed
        self.text = [self.text[0] + piece.reasoning, self.text[1] + piece.text]
