"""The log on Redis streams: a worker appends, the web processes follow.

An entry says where its texts begin, so one that is sent twice is cut, and one that is missing is seen.
Nothing here is the truth: while Redis is away the runner goes on, readers get a Gap and read the row,
and once it is back, empty or not, the next entry goes on from where the reply is then.
"""

import asyncio
import contextlib
import contextvars
import logging
import time
import uuid
from collections.abc import AsyncIterator, Iterable
from typing import Any

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from .log import Cursor, Gap, Log, Pause, Slice, at_once

logger = logging.getLogger(__name__)
UNREACHABLE = (RedisError, OSError, TimeoutError)
TIMEOUT_S = 1.5
FLUSH_EVERY_S, FLUSH_LOADED_S = 0.008, 0.020
BEAT_S = 1.0  # an entry at least so often, so that silence means that something is wrong
QUIET_S = 2.5
BLOCK_MS = 500
RETRY_S = 0.5
KEPT_AFTER_CLOSE_S = 600
STREAM_BYTES = 1_000_000
ENTRY_BYTES = 100  # what Redis needs for one beside its texts, about
MAX_UNSENT_CHARS = 500_000

Entry = dict[str, str]


def connect(url: str, **options: Any) -> Redis:
    """A client that reports trouble at once: whoever uses it knows better when to try again."""
    return Redis.from_url(
        url,
        decode_responses=True,
        socket_timeout=TIMEOUT_S,
        socket_connect_timeout=TIMEOUT_S,
        retry=Retry(NoBackoff(), 0),
        **options,
    )


async def end(tasks: Iterable[asyncio.Task[None]]) -> None:
    """Cancel them until they have ended: on its way through the client a cancellation may be lost."""
    left = set(tasks)
    while left:
        for task in left:
            task.cancel()
        _, left = await asyncio.wait(left, timeout=0.1)


def rest_s(streams: int) -> float:
    """Between two flushes: the more streams share one, the more it is worth to wait for them."""
    return min(FLUSH_EVERY_S * (1 + streams / 20), FLUSH_LOADED_S)


def key_of(prefix: str, generation: int) -> str:
    return f"{prefix}:log:{generation}"


class RedisLogs:
    """What one process sends to the streams and has of them; see `Logs`.

    `prefix` is the installation's: a Redis may serve several.
    """

    def __init__(self, url: str, prefix: str) -> None:
        self._prefix = prefix
        self._redis = connect(url)
        self._sender = _Sender(self._redis, prefix)
        self._reader = _Reader(self._redis, prefix)

    def open(self, base: Cursor) -> None:
        self._sender.open(base)

    def append(self, generation: int, reasoning: str, text: str) -> None:
        self._sender.replies[generation].append(reasoning, text)
        self._sender.mark(generation)

    def tell(self, generation: int, *, note: str | None = None, saved: bool | None = None) -> None:
        reply = self._sender.replies[generation]
        reply.note = reply.note if note is None else note
        reply.saved = reply.saved if saved is None else saved
        self._sender.mark(generation)

    def close(self, generation: int) -> None:
        if reply := self._sender.replies.get(generation):
            reply.closed = True
            self._sender.mark(generation)

    def follow(self, cursor: Cursor, pause_s: Pause = at_once) -> AsyncIterator[Slice]:
        return self._reader.follow(cursor, pause_s)

    async def aclose(self) -> None:
        await self._sender.aclose()
        await self._reader.aclose()
        await self._redis.aclose()

    async def seal(self, base: Cursor) -> tuple[str, str]:
        """Close the stream of a dead owner; what it has beyond `base`: reasoning, text.

        Where Redis can't say, there is nothing.
        """
        log = _Mirror(base.generation, self._prefix)
        try:
            async with self._redis.pipeline() as pipe:
                # Closed first: what an owner who only slept adds behind this, nobody reads.
                pipe.xadd(log.key, {"c": "1"}, nomkstream=True)
                pipe.xrange(log.key)
                pipe.expire(log.key, KEPT_AFTER_CLOSE_S)
                _, entries, _ = await pipe.execute()
        except UNREACHABLE as error:
            logger.warning("The log of generation %d can't be read: %s", base.generation, error)
            return "", ""
        log.take(entries)
        with contextlib.suppress(Gap):
            return log.reasoning.since(base.reasoning), log.text.since(base.text)
        return "", ""


# --- what goes out ----------------------------------------------------------------------------


class _Unsent:
    """What the stream of a reply that runs here lacks."""

    def __init__(self, base: Cursor) -> None:
        self.at = [base.reasoning, base.text]
        self.pieces: tuple[list[str], list[str]] = ([], [])
        self.chars = 0
        self.note = ""
        self.saved = True
        self.closed = False
        self.beaten = 0.0
        self.entries = self.bytes = 0  # sent so far

    def append(self, reasoning: str, text: str) -> None:
        for pieces, piece in zip(self.pieces, (reasoning, text), strict=True):
            if piece:
                pieces.append(piece)
        self.chars += len(reasoning) + len(text)
        self.note = ""
        if self.chars > MAX_UNSENT_CHARS:
            self.drop((len(self.pieces[0]), len(self.pieces[1])))

    def entry(self) -> tuple[Entry, tuple[int, int]]:
        """All of it, and how many pieces that is; what isn't said is empty, or as it ought to be."""
        reasoning, text = ("".join(pieces) for pieces in self.pieces)
        said = {"r": reasoning, "t": text, "n": self.note}
        said |= {"u": "" if self.saved else "1", "c": "1" if self.closed else ""}
        at = {"a": str(self.at[0]), "b": str(self.at[1])}
        return at | {k: v for k, v in said.items() if v}, (len(self.pieces[0]), len(self.pieces[1]))

    def drop(self, counts: tuple[int, int]) -> None:
        """So many pieces are sent, or are given up."""
        for place, count in enumerate(counts):
            chars = sum(map(len, self.pieces[place][:count]))
            self.at[place] += chars
            self.chars -= chars
            del self.pieces[place][:count]

    @property
    def most_entries(self) -> int:
        """How many entries such as this reply's fit into the bytes that a stream may take."""
        return max(STREAM_BYTES * (self.entries + 1) // (self.bytes + ENTRY_BYTES), 16)


class _Sender:
    """Sends what was appended in the last milliseconds in one go, for all replies together."""

    def __init__(self, client: Redis, prefix: str) -> None:
        self._prefix = prefix
        self.replies: dict[int, _Unsent] = {}
        self._redis = client
        self._marked: set[int] = set()
        self._news = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._fails = False

    def open(self, base: Cursor) -> None:
        self.replies[base.generation] = _Unsent(base)
        self.mark(base.generation)
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(
                self._send_forever(), context=contextvars.Context(), name="log to Redis"
            )

    def mark(self, generation: int) -> None:
        self._marked.add(generation)
        self._news.set()

    async def aclose(self) -> None:
        if self._task is not None:
            await end([self._task])
            with contextlib.suppress(*UNREACHABLE):
                await self._send()

    async def _send_forever(self) -> None:
        while True:
            # Not wait_for: before Python 3.12 it may swallow the cancellation that ends this.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(BEAT_S / 4):
                    await self._news.wait()
            now = time.monotonic()
            self._marked |= {g for g, r in self.replies.items() if now - r.beaten > BEAT_S}
            try:
                await self._send()
            except UNREACHABLE as error:
                if not self._fails:
                    logger.warning("Redis doesn't take what replies say: %s", error)
                await self._wait_for_redis()
            except Exception:
                logger.exception("What replies say could not be sent")
                await self._wait_for_redis()
            else:
                self._fails = False
                await asyncio.sleep(rest_s(len(self.replies)))

    async def _send(self) -> None:
        self._news.clear()
        marked, self._marked = self._marked, set()
        if not marked:
            return
        sent = [(g, self.replies[g], *self.replies[g].entry()) for g in marked if g in self.replies]
        try:
            async with self._redis.pipeline(transaction=False) as pipe:
                for generation, reply, entry, _ in sent:
                    key = key_of(self._prefix, generation)
                    pipe.xadd(key, entry, maxlen=reply.most_entries)
                    if reply.entries == 0 or reply.closed:
                        kept_s = KEPT_AFTER_CLOSE_S if reply.closed else 24 * 3600
                        pipe.expire(key, kept_s)
                await pipe.execute()
        except BaseException:
            self._marked |= marked
            raise
        for generation, reply, entry, counts in sent:
            reply.drop(counts)
            reply.entries += 1
            reply.bytes += ENTRY_BYTES + sum(len(text.encode()) for text in entry.values())
            reply.beaten = time.monotonic()
            if "c" in entry:
                self.replies.pop(generation, None)

    async def _wait_for_redis(self) -> None:
        self._fails = True
        # The rows of these are final, which is where their readers look now.
        for generation in [g for g, reply in self.replies.items() if reply.closed]:
            del self.replies[generation]
        await asyncio.sleep(RETRY_S)


# --- what comes in ----------------------------------------------------------------------------


class _Mirror(Log):
    """What this process has of a stream."""

    def __init__(self, generation: int, prefix: str) -> None:
        super().__init__(Cursor(generation))
        self.generation = generation
        self.key = key_of(prefix, generation)
        self.last_id = "0"
        self.heard = time.monotonic()
        self.is_begun = False
        self.readers = 0

    def take(self, entries: Iterable[tuple[str, Entry]]) -> None:
        for number, entry in entries:
            if not self.closed:
                self._take(entry)
            self.last_id = number
        self.heard = time.monotonic()
        self.wake()

    def _take(self, entry: Entry) -> None:
        self.closed = "c" in entry
        if "a" not in entry:
            return
        starts = int(entry["a"]), int(entry["b"])
        texts = entry.get("r", ""), entry.get("t", "")
        is_torn = starts[0] > self.reasoning.end or starts[1] > self.text.end
        if is_torn or not self.is_begun:
            # The beginning was trimmed, or Redis came back empty.
            self.reasoning, self.text = type(self.reasoning)(starts[0]), type(self.text)(starts[1])
            self.is_begun = True
        for track, start, text in zip((self.reasoning, self.text), starts, texts, strict=True):
            track.append(text[track.end - start :])
        self.note, self.saved = entry.get("n", ""), "u" not in entry


class _Reader:
    """One blocking read for all streams that somebody in this process follows."""

    def __init__(self, client: Redis, prefix: str) -> None:
        self._prefix = prefix
        self._redis = client
        self._mirrors: dict[int, _Mirror] = {}
        self._wake_key, self._wake_id = f"{prefix}:wake:{uuid.uuid4()}", "0"
        self._is_wanted, self._is_new = asyncio.Event(), asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    async def follow(self, cursor: Cursor, pause_s: Pause) -> AsyncIterator[Slice]:
        known = self._mirrors.get(cursor.generation)
        mirror = known or _Mirror(cursor.generation, self._prefix)
        mirror.readers += 1
        try:
            if known is None:
                self._mirrors[cursor.generation] = mirror
                self._wake()
            while not (mirror.is_begun or mirror.closed or mirror.lost):
                await mirror.change()
            if not mirror.is_begun:
                raise Gap
            async for piece in mirror.follow(cursor, pause_s):
                yield piece
        finally:
            mirror.readers -= 1
            if not mirror.readers:
                self._forget(mirror)

    async def aclose(self) -> None:
        await end(self._tasks)
        self._lose(list(self._mirrors.values()))

    def _wake(self) -> None:
        """Have the read that is under way return, so that the next one asks for a new stream too."""
        self._is_wanted.set()
        self._is_new.set()
        if not self._tasks:
            self._tasks = [
                asyncio.get_running_loop().create_task(
                    work, context=contextvars.Context(), name="log from Redis"
                )
                for work in (self._read_forever(), self._wake_forever())
            ]

    async def _wake_forever(self) -> None:
        while True:
            await self._is_new.wait()
            self._is_new.clear()
            # Where that fails, the read fails as well, and knows what to do.
            with contextlib.suppress(*UNREACHABLE):
                async with self._redis.pipeline(transaction=False) as pipe:
                    pipe.xadd(self._wake_key, {"w": ""}, maxlen=1)
                    pipe.expire(self._wake_key, 60)
                    await pipe.execute()

    async def _read_forever(self) -> None:
        while True:
            if not self._mirrors:
                self._is_wanted.clear()
                await self._is_wanted.wait()
            try:
                await self._read()
            except UNREACHABLE as error:
                logger.warning("Redis doesn't tell what replies say: %s", error)
                await self._lose_all()
            except Exception:
                logger.exception("A stream could not be read")
                await self._lose_all()
            late = time.monotonic() - QUIET_S
            self._lose([m for m in self._mirrors.values() if m.heard < late])
            await asyncio.sleep(rest_s(len(self._mirrors)))

    async def _read(self) -> None:
        mirrors = {mirror.key: mirror for mirror in self._mirrors.values()}
        wanted = {key: mirror.last_id for key, mirror in mirrors.items()}
        found = await self._redis.xread(wanted | {self._wake_key: self._wake_id}, block=BLOCK_MS)
        for key, entries in found:
            if key in mirrors:
                mirrors[key].take(entries)
            else:
                self._wake_id = entries[-1][0]

    async def _lose_all(self) -> None:
        self._lose(list(self._mirrors.values()))
        await asyncio.sleep(RETRY_S)

    def _lose(self, mirrors: Iterable[_Mirror]) -> None:
        for mirror in mirrors:
            self._forget(mirror)
            mirror.lost = True
            mirror.wake()

    def _forget(self, mirror: _Mirror) -> None:
        if self._mirrors.get(mirror.generation) is mirror:
            del self._mirrors[mirror.generation]
