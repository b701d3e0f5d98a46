"""What a scripted gateway's answer is made of: a list of steps.

A str is sent as a delta of text, bytes as they are; the rest is below.
"""

import asyncio
import json
import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

MODEL = "test-model"


@dataclass(frozen=True)
class Head:
    """Another status or other headers than 200 text/event-stream; the first step if given.

    A Content-Length among the headers ends chunked framing; what follows is sent unframed.
    """

    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Reasoning:
    """A delta of reasoning."""

    text: str


@dataclass(frozen=True)
class Flood:
    """Any amount of bytes, made while they are sent, at the reader's pace."""

    chunks: Iterable[bytes]


@dataclass(frozen=True)
class Every:
    """The same bytes again and again, `every_s` apart, until the client closes."""

    chunk: bytes
    every_s: float


@dataclass(frozen=True)
class Drop:
    """Close without the end of the body; with `reset` by RST instead of FIN."""

    reset: bool = False


@dataclass(frozen=True)
class Hang:
    """Send no more and keep the connection until the client closes it."""


class Gate:
    """A point of a script that is passed once the test opens it; made by Gateway.gate()."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self.opened = asyncio.Event()
        self.reached = threading.Event()

    def open(self) -> None:
        self._loop.call_soon_threadsafe(self.opened.set)

    def wait_reached(self, deadline_s: float = 10) -> None:
        """All that stands before the gate in its script is with the client's kernel."""
        assert self.reached.wait(deadline_s), "no call has reached the gate"


Step = str | bytes | Head | Reasoning | Flood | Every | Drop | Hang | Gate


# --- the pieces of a stream as OpenAI sends them ----------------------------------------------


def event(payload: object) -> bytes:
    """One server-sent event with this JSON."""
    return b"data: " + json.dumps(payload, ensure_ascii=False).encode() + b"\n\n"


def chunk(delta: Mapping[str, object], finish: str | None = None, **more: object) -> bytes:
    """One chat.completion.chunk."""
    choice = {"index": 0, "delta": dict(delta), "finish_reason": finish}
    return event(envelope("chat.completion.chunk", choices=[choice], **more))


def usage_chunk(usage: Mapping[str, object]) -> bytes:
    """The chunk without choices that carries the usage."""
    return event(envelope("chat.completion.chunk", choices=[], usage=dict(usage)))


DONE = b"data: [DONE]\n\n"


def usage_of(prompt: int, completion: int) -> dict[str, int]:
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
    }


def answer(status: int, body: object, headers: Mapping[str, str] | None = None) -> list[Step]:
    """The steps of a whole answer that is no stream: JSON, or str and bytes as they are."""
    kind = "text/plain" if isinstance(body, str | bytes) else "application/json"
    text = body if isinstance(body, str | bytes) else json.dumps(body)
    raw = text.encode() if isinstance(text, str) else text
    length = {"Content-Type": kind, "Content-Length": str(len(raw))}
    return [Head(status, length | dict(headers or {})), raw]


def envelope(kind: str, **more: object) -> dict[str, object]:
    return {"id": "chatcmpl-1", "object": kind, "created": 1700000000, "model": MODEL} | more
