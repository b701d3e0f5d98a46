"""What a reply does, step by step, and the player that performs it.

The built-in models and the scripted faults are both scripts; nothing else writes a body.
"""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from itertools import islice
from typing import NamedTuple

from . import wire

EVENT_STREAM = b"text/event-stream; charset=utf-8"
JSON = b"application/json"
HTML = b"text/html; charset=utf-8"

# The most deltas in one write. Unpaced ones go out in such lots, one turn of the loop for each.
LOT_DELTAS = 64

Write = Callable[[bytes], Awaitable[None]]


class Role(NamedTuple):
    """The first chunk, which names the role and says nothing."""


class Say(NamedTuple):
    """A delta for each word; `per_second` 0 is as fast as they come."""

    words: Iterable[str]
    per_second: float = 0
    key: str = "content"


class Finish(NamedTuple):
    reason: str


class Tally(NamedTuple):
    """The usage chunk; without figures, what came and what was sent, counted."""

    usage: wire.Usage | None = None


class Fail(NamedTuple):
    """An error object in mid-stream."""

    message: str
    kind: str = "server_error"


class Raw(NamedTuple):
    """Bytes of the body as they are; none at all sends the headers."""

    body: bytes


class Fill(NamedTuple):
    """So many bytes without a line end."""

    size_bytes: int


class Pause(NamedTuple):
    """Silence; without a length, until the client leaves."""

    seconds: float | None = None


class Drop(NamedTuple):
    """The connection closes with the body unfinished (FIN, or RST with `reset`)."""

    reset: bool = False


Step = Role | Say | Finish | Tally | Fail | Raw | Fill | Pause | Drop

DONE = Raw(wire.DONE)


@dataclass(frozen=True)
class Script:
    """One answer to a request; headers leave with the first bytes of the body."""

    steps: list[Step]
    status: int = 200
    content_type: bytes = EVENT_STREAM
    headers: tuple[tuple[bytes, bytes], ...] = ()
    crlf: bool = False
    slice_bytes: int = 0
    slice_delay_s: float = 0


async def play(script: Script, request: wire.Request, write: Write) -> Drop | None:
    """Perform the script through `write`; the Drop it ended with, None if it came to its end."""
    chunks = wire.Chunks(request)
    write = reshaped(write, script)
    sent: Counter[str] = Counter()
    for step in script.steps:
        match step:
            case Role():
                await write(chunks.role())
            case Say():
                sent[step.key] += await say(step, chunks, write)
            case Finish(reason):
                await write(chunks.finish(reason))
            case Tally(usage):
                await write(chunks.usage(usage or counted(request, sent)))
            case Fail(message, kind):
                await write(wire.event(wire.error(message, kind)))
            case Raw(body):
                await write(body)
            case Fill(size_bytes):
                await fill(size_bytes, write)
            case Pause(seconds):
                await pause(seconds)
            case Drop():
                return step
    return None


def whole(script: Script, request: wire.Request) -> Script:
    """The same reply for a request without `stream`: one JSON body, at no pace."""
    if script.content_type != EVENT_STREAM:
        return script
    silences: list[Step] = []
    said: dict[str, list[str]] = {"content": [], "reasoning_content": []}
    finish = "stop"
    usage = None
    for step in script.steps:
        match step:
            case Say():
                said[step.key].extend(step.words)
            case Finish(reason):
                finish = reason
            case Tally(figures):
                usage = figures
            case Fail(message, kind):
                failure = Raw(wire.error(message, kind))
                return Script([*silences, failure], status=500, content_type=JSON)
            case Pause() | Drop():
                silences.append(step)
    body = wire.completion(
        request.model,
        "".join(said["content"]),
        "".join(said["reasoning_content"]),
        finish,
        usage or counted(request, Counter({key: len(words) for key, words in said.items()})),
    )
    return Script([*silences, Raw(body)], content_type=JSON)


def counted(request: wire.Request, sent: Counter[str]) -> wire.Usage:
    return wire.Usage(wire.prompt_tokens(request), sent.total(), sent["reasoning_content"])


async def say(step: Say, chunks: wire.Chunks, write: Write) -> int:
    """Send the words at their pace and return how many; those overdue share one write."""
    clock = asyncio.get_running_loop().time
    words = iter(step.words)
    started = clock()
    sent = 0
    while True:
        due = LOT_DELTAS
        if step.per_second:
            due = min(due, max(1, int((clock() - started) * step.per_second) + 1 - sent))
        lot = [chunks.delta(word, step.key) for word in islice(words, due)]
        if not lot:
            return sent
        sent += len(lot)
        await write(b"".join(lot))
        wait_s = started + sent / step.per_second - clock() if step.per_second else 0
        await asyncio.sleep(max(0, wait_s))


async def fill(size_bytes: int, write: Write) -> None:
    part = b"x" * 65_536
    for start in range(0, size_bytes, len(part)):
        await write(part[: size_bytes - start])
        await asyncio.sleep(0)


async def pause(seconds: float | None) -> None:
    if seconds is None:
        await asyncio.get_running_loop().create_future()
    else:
        await asyncio.sleep(seconds)


def reshaped(write: Write, script: Script) -> Write:
    """`write` with the script's line ends, and in slices if it asks for them."""
    if not (script.crlf or script.slice_bytes):
        return write

    async def write_reshaped(body: bytes) -> None:
        if script.crlf:
            body = body.replace(b"\n", b"\r\n")
        size = script.slice_bytes or len(body) or 1
        for start in range(0, len(body) or 1, size):
            await write(body[start : start + size])
            await asyncio.sleep(script.slice_delay_s)

    return write_reshaped
