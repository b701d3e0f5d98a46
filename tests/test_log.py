"""The log: whatever the pace of a reader, it has every word once and in order."""

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chat.replies.log import Cursor, Gap, Logs, MemoryLogs, Slice
from chat.replies.redis_log import RedisLogs
from tests.services import RedisServer

START = Cursor(1)
numbers = itertools.count(100)
Make = Callable[[], Logs]


@pytest.fixture(params=["memory", "redis"])
def make(request: pytest.FixtureRequest) -> Make:
    """Every test here is run with the log of either form."""
    if request.param == "memory":
        return MemoryLogs
    server: RedisServer = request.getfixturevalue("redis_server")
    server.client.flushall()
    return lambda: RedisLogs(server.url, "potok")


@pytest.fixture
async def logs(make: Make) -> AsyncIterator[Logs]:
    logs = make()
    yield logs
    await logs.aclose()


async def read_all(logs: Logs, cursor: Cursor = START) -> list[Slice]:
    return [piece async for piece in logs.follow(cursor)]


def texts(pieces: list[Slice]) -> tuple[str, str]:
    return "".join(p.reasoning for p in pieces), "".join(p.text for p in pieces)


async def turns(count: int = 3) -> None:
    """Let every task that is ready run."""
    for _ in range(count):
        await asyncio.sleep(0)


async def test_a_reader_gets_what_was_and_what_comes(logs):
    logs.open(START)
    logs.append(1, "hm", "")
    following = logs.follow(START)
    pieces = [await anext(following)]
    logs.append(1, "", "Be")
    pieces.append(await anext(following))
    logs.append(1, "", "cause.")
    logs.close(1)
    pieces += [piece async for piece in following]
    assert [(p.reasoning, p.text, p.closed) for p in pieces] == [
        ("hm", "", False),
        ("", "Be", False),
        ("", "cause.", True),
    ]
    assert pieces[-1].cursor == Cursor(1, 2, 8)


@pytest.mark.parametrize("reasoning", range(5))
@pytest.mark.parametrize("text", range(6))
async def test_a_reader_begins_anywhere(logs, reasoning, text):
    logs.open(START)
    for piece in ("ab", "", "cd"):
        logs.append(1, piece, piece + "e" if piece == "cd" else piece)
    logs.close(1)
    assert texts(await read_all(logs, Cursor(1, reasoning, text))) == (
        "abcd"[reasoning:],
        "abcde"[text:],
    )


async def test_a_slow_reader_catches_up_in_one_step(logs):
    logs.open(START)
    following = logs.follow(START)
    logs.append(1, "", "0")
    first = await anext(following)
    for number in range(1, 1000):
        logs.append(1, "", str(number))
    second = await anext(following)
    assert first.text + second.text == "".join(map(str, range(1000)))


async def test_words_that_come_with_the_end_reach_a_busy_reader(logs):
    logs.open(START)
    following = logs.follow(START)
    logs.append(1, "", "Be")
    assert (await anext(following)).text == "Be"
    logs.append(1, "", "cause.")
    logs.close(1)
    last = await anext(following)
    assert (last.text, last.closed) == ("cause.", True)


async def test_a_cursor_before_the_log_is_a_gap(logs):
    logs.open(Cursor(1, 0, 100))
    logs.append(1, "", "more")
    with pytest.raises(Gap):
        await anext(logs.follow(Cursor(1, 0, 99)))
    assert (await anext(logs.follow(Cursor(1, 0, 100)))).text == "more"


async def test_a_log_that_is_not_there_is_a_gap(logs):
    with pytest.raises(Gap):
        await anext(logs.follow(START))


async def test_a_reader_who_is_late_still_gets_all(logs):
    logs.open(START)
    logs.append(1, "hm", "Because.")
    logs.close(1)
    (piece,) = await read_all(logs)
    assert (piece.reasoning, piece.text, piece.closed) == ("hm", "Because.", True)


async def test_a_reader_who_has_all_learns_of_the_end(logs):
    logs.open(START)
    logs.append(1, "", "Because.")
    logs.close(1)
    (piece,) = await read_all(logs, Cursor(1, 0, 8))
    assert (piece.text, piece.closed) == ("", True)


async def test_a_note_is_told_and_gone_with_the_next_words(logs):
    logs.open(START)
    following = logs.follow(START)
    logs.tell(1, note="retry 2 7")
    assert (await anext(following)).note == "retry 2 7"
    logs.append(1, "", "Because.")
    assert (await anext(following)).note == ""


async def test_a_row_that_is_behind_is_told_and_taken_back(logs):
    logs.open(START)
    following = logs.follow(START)
    logs.tell(1, saved=False)
    assert not (await anext(following)).saved
    logs.tell(1, saved=True)
    assert (await anext(following)).saved


async def test_a_reader_who_leaves_disturbs_nobody(logs):
    logs.open(START)
    leaving, staying = (asyncio.create_task(read_all(logs)) for _ in range(2))
    await turns()
    leaving.cancel()
    await turns()
    logs.append(1, "", "Because.")
    logs.close(1)
    assert texts(await staying) == ("", "Because.")


async def test_closing_twice_is_closing(logs):
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


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps, st.integers(0, 3), st.integers(0, 3))
def test_property_any_interleaving_yields_the_text_once(make, steps, reasoning, text):
    async def run() -> None:
        logs = make()
        base = Cursor(next(numbers), reasoning, text)
        logs.open(base)
        said = ["", ""]
        readers = [_Reader(logs, base) for _ in range(3)]
        for kind, one, two in steps:
            match kind:
                case "append":
                    logs.append(base.generation, one, two)
                    said[0], said[1] = said[0] + one, said[1] + two
                case "let read":
                    await readers[one].step()
                case "reopen":
                    readers[one].reconnect()
                case "tell":
                    logs.tell(base.generation, note=one, saved=not one)
        logs.close(base.generation)
        for reader in readers:
            await reader.read_on()
            assert reader.text == said
        await logs.aclose()

    asyncio.run(run())


class _Reader:
    """Reads a step when told; `reconnect` comes back from where it stands."""

    def __init__(self, logs: Logs, cursor: Cursor) -> None:
        self._logs, self._cursor = logs, cursor
        self.text = ["", ""]
        self.reconnect()

    def reconnect(self) -> None:
        self._pieces = self._logs.follow(self._cursor)

    async def step(self) -> None:
        """One slice, where there is one within a few turns; else the reader goes and comes again."""
        reading = asyncio.ensure_future(anext(self._pieces))
        await turns()
        if reading.done():
            self._take(reading.result())
        else:
            reading.cancel()
            await asyncio.wait([reading])
            self.reconnect()

    async def read_on(self) -> None:
        """To the end."""
        async for piece in self._pieces:
            self._take(piece)

    def _take(self, piece: Slice) -> None:
        self._cursor = piece.cursor
        self.text = [self.text[0] + piece.reasoning, self.text[1] + piece.text]
