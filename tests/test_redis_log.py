"""What only a log on Redis can meet: its server goes, comes back empty, trims, or repeats."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chat.replies import redis_log
from chat.replies.log import Cursor, Gap, Slice
from chat.replies.redis_log import RedisLogs, key_of
from tests.services import RedisServer

KEY = key_of("potok", 1)


@pytest.fixture(scope="module")
def mortal() -> Iterator[RedisServer]:
    """A Redis that these tests end."""
    with contextlib.closing(RedisServer()) as server:
        yield server


@pytest.fixture
def server(mortal: RedisServer) -> RedisServer:
    if not mortal.is_running:
        mortal.start()
    mortal.client.flushall()
    return mortal


@pytest.fixture
async def writer(server: RedisServer) -> AsyncIterator[RedisLogs]:
    """A worker's."""
    logs = RedisLogs(server.url, "potok")
    yield logs
    await logs.aclose()


@pytest.fixture
async def reader(server: RedisServer) -> AsyncIterator[RedisLogs]:
    """A web process's."""
    logs = RedisLogs(server.url, "potok")
    yield logs
    await logs.aclose()


async def read_all(logs: RedisLogs, cursor: Cursor) -> list[Slice]:
    return [piece async for piece in logs.follow(cursor)]


async def read_text(logs: RedisLogs, cursor: Cursor, length: int) -> str:
    """Text up to this length; over a Gap as a page does it, but with no row to read."""
    text = ""
    async with asyncio.timeout(10):
        while len(text) < length:
            with contextlib.suppress(Gap):
                async for piece in logs.follow(cursor):
                    cursor, text = piece.cursor, text + piece.text
                    if len(text) >= length:
                        break
            await asyncio.sleep(0.05)
    return text


async def test_what_one_process_says_another_reads(writer, reader):
    writer.open(Cursor(1))
    writer.append(1, "hm", "Be")
    following = reader.follow(Cursor(1))
    assert (await anext(following)).reasoning == "hm"
    writer.append(1, "", "cause.")
    assert (await anext(following)).text == "cause."
    writer.close(1)
    assert (await anext(following)).closed


async def test_a_reader_that_came_first_misses_nothing(writer, reader):
    reading = asyncio.create_task(read_all(reader, Cursor(1)))
    await asyncio.sleep(0)
    writer.open(Cursor(1))
    writer.append(1, "", "Because.")
    writer.close(1)
    assert "".join(piece.text for piece in await reading) == "Because."


async def test_a_quiet_reply_does_not_look_like_a_lost_one(writer, reader):
    """Longer than a reader would wait for a log from which nothing comes."""
    writer.open(Cursor(1))
    following = reader.follow(Cursor(1))
    reading = asyncio.ensure_future(anext(following))
    await asyncio.wait([reading], timeout=redis_log.QUIET_S + 1)
    assert not reading.done()
    writer.append(1, "", "Because.")
    assert (await reading).text == "Because."


async def test_silence_of_the_writer_sends_readers_to_the_row(writer, reader):
    writer.open(Cursor(1))
    writer.append(1, "", "Because")
    following = reader.follow(Cursor(1))
    assert (await anext(following)).text == "Because"
    await writer.aclose()
    async with asyncio.timeout(redis_log.QUIET_S + 2):
        with pytest.raises(Gap):
            await anext(following)


async def test_without_redis_readers_go_to_the_row_and_the_writer_goes_on(server, writer, reader):
    writer.open(Cursor(1))
    writer.append(1, "", "Be")
    following = reader.follow(Cursor(1))
    assert (await anext(following)).text == "Be"
    server.kill()
    with pytest.raises(Gap):
        await anext(following)
    with pytest.raises(Gap):
        await anext(reader.follow(Cursor(1, 0, 2)))
    writer.append(1, "", "cause")
    server.start()
    # It is empty: what comes now begins where the writer was.
    assert await read_text(reader, Cursor(1, 0, 2), 5) == "cause"


async def test_an_empty_redis_is_a_gap_for_whoever_lacks_the_beginning(server, writer, reader):
    writer.open(Cursor(1))
    writer.append(1, "", "Be")
    assert await read_text(writer, Cursor(1), 2) == "Be"
    server.client.flushall()
    writer.append(1, "", "cause")
    assert await read_text(reader, Cursor(1, 0, 2), 5) == "cause"
    with pytest.raises(Gap):
        await anext(reader.follow(Cursor(1)))


async def test_a_long_stream_is_trimmed(server, writer):
    writer.open(Cursor(1))
    piece = "a" * 10_000
    for _ in range(3 * redis_log.STREAM_BYTES // len(piece)):
        writer.append(1, "", piece)
        await asyncio.sleep(redis_log.FLUSH_EVERY_S)
    assert server.client.memory_usage(KEY) < 2 * redis_log.STREAM_BYTES


async def test_a_stream_is_gone_some_time_after_the_close(server, writer, reader):
    writer.open(Cursor(1))
    writer.close(1)
    await read_all(reader, Cursor(1))
    assert 0 < server.client.ttl(KEY) <= redis_log.KEPT_AFTER_CLOSE_S


async def test_sealing_tells_what_the_row_lacks_and_ends_the_readers(writer, reader):
    writer.open(Cursor(1, 1, 2))
    writer.append(1, "mmm", "cause")
    following = reader.follow(Cursor(1, 1, 2))
    await anext(following)
    assert await reader.seal(Cursor(1, 3, 4)) == ("m", "use")
    assert (await anext(following)).closed


async def test_what_comes_behind_the_seal_is_read_by_nobody(writer, reader):
    writer.open(Cursor(1))
    writer.append(1, "", "Be")
    await read_text(reader, Cursor(1), 2)
    assert await reader.seal(Cursor(1)) == ("", "Be")
    writer.append(1, "", "cause")
    await writer.aclose()
    assert "".join(piece.text for piece in await read_all(reader, Cursor(1))) == "Be"
    assert await reader.seal(Cursor(1)) == ("", "Be")


async def test_sealing_where_there_is_nothing_leaves_nothing(server, reader):
    assert await reader.seal(Cursor(1)) == ("", "")
    assert not server.client.exists(KEY)


async def test_sealing_without_redis_is_not_waited_for(server, reader):
    server.kill()
    async with asyncio.timeout(2 * redis_log.TIMEOUT_S):
        assert await reader.seal(Cursor(1)) == ("", "")


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), max_size=10))
def test_property_what_was_sent_again_is_cut(server, entries):
    """Each entry begins so many characters before the end of what was said, and is so long."""
    said = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
    server.client.delete(KEY)
    server.client.xadd(KEY, {"a": "0", "b": "0"})
    end = 0
    for back, length in entries:
        start = max(end - back, 0)
        server.client.xadd(KEY, {"a": "0", "b": str(start), "t": said[start : start + length]})
        end = max(end, start + length)
    server.client.xadd(KEY, {"a": "0", "b": str(end), "c": "1"})

    async def read() -> str:
        logs = RedisLogs(server.url, "potok")
        found = "".join(piece.text for piece in await read_all(logs, Cursor(1)))
        await logs.aclose()
        return found

    assert asyncio.run(read()) == said[:end]
