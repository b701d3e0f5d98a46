"""What the gateway is to send for one question, and what it has sent."""

import asyncio
import contextlib
import random
import re
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from tests.connection import Call
from tests.gateway import Gateway
from tests.script import DONE, Drop, Gate, Hang, Head, Reasoning, Step, chunk, event, usage_chunk

# How a stream can go wrong, and what its reply is then: status, kind.
ENDS: dict[str, tuple[str, str | None]] = {
    "stop": ("complete", None),
    "length": ("complete", None),
    "drop": ("interrupted", "connection"),
    "reset": ("interrupted", "connection"),
    "cut": ("interrupted", "connection"),
    "hang": ("interrupted", "timeout"),
    "garbage": ("failed", "protocol"),
    "error": ("failed", "server"),
}
GOOD = ("stop", "length")


class Pace(Gate):
    """A step that takes time by the world's clock, the same one between all pieces of a stream.

    Of pieces whose time has come meanwhile none waits: that clock ticks more slowly than words may
    come. A busy machine stretches it, though never so far that the silence would be one.
    """

    LONGEST_S = 1.5
    TICK_S = 0.02
    BEHIND_S = 0.1  # so much is made up for, no more: after a halt it goes on at its pace

    def __init__(self, pause_s: float, now: Callable[[], float]) -> None:
        self.reached = threading.Event()
        self.opened = self  # type: ignore[assignment]
        self._pause_s, self._now = pause_s, now
        self._due = 0.0

    async def wait(self) -> None:
        self._due = max(self._due, self._now() - self.BEHIND_S) + self._pause_s
        began = time.monotonic()
        while self._now() < self._due and time.monotonic() < began + self.LONGEST_S:  # noqa: ASYNC110
            await asyncio.sleep(self.TICK_S)


class Hold(Gate):
    """Some of a wait for a gate, in steps that are short enough to be no silence."""

    STEPS, STEP_S = 120, 1.0

    def __init__(self, gate: Gate) -> None:
        self.reached = threading.Event()
        self.opened = self  # type: ignore[assignment]
        self._gate = gate

    async def wait(self) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self.STEP_S):
                await self._gate.opened.wait()


@dataclass
class Reply:
    """One question with a token of its own in it, and the stream that answers it."""

    token: str
    text: list[str]
    reasoning: list[str]
    end: str
    pause_s: float
    usage: dict[str, int] | None
    is_busy_first: bool = False  # the gateway answers 503 once, before
    conversation: str = ""
    message: str = ""
    # (status, kind) that may come of it; faults add to it.
    allowed: set[tuple[str, str | None]] = field(default_factory=set)
    # Lengths of reasoning and text that the row must have in the end, and by which promise.
    had: list[tuple[int, int, str]] = field(default_factory=list)
    is_gone: bool = False  # deleted on purpose
    calls: list[Call] = field(default_factory=list)
    person: Any = None  # who asked; see world.Person

    def __post_init__(self) -> None:
        self.allowed.add(ENDS[self.end])

    def must_have(self, reasoning: int, text: int, promise: str = "D1") -> None:
        self.had.append((reasoning, text, promise))

    @property
    def question(self) -> str:
        return f"{self.token}: go on, please"

    @property
    def whole(self) -> tuple[str, str]:
        """All the reasoning and all the text as they are to be stored."""
        return cleaned("".join(self.reasoning)), cleaned("".join(self.text))

    @property
    def sent(self) -> tuple[str, str]:
        """What has left the gateway, as it is to be stored."""
        last = self.calls[-1] if self.calls else None
        return (cleaned(last.reasoning), cleaned(last.text)) if last else ("", "")

    @property
    def seconds(self) -> float:
        return self.pause_s * (len(self.text) + len(self.reasoning))

    def script(self, gateway: Gateway, go: Gate, now: Callable[[], float]) -> None:
        """Queue the answer, all but its first words behind `go`; the calls that take it are noted."""
        if self.is_busy_first:
            refusal = chunk({})  # a body that says nothing
            head = Head(503, {"Retry-After": "0", "Content-Length": str(len(refusal))})
            gateway.script(head, refusal, when=self._is_asked)
        gateway.script(*self._steps(go, now), when=self._is_asked)

    def is_asked_by(self, call: Call) -> bool:
        """A question that got no words stands before the next one, in one turn with it."""
        return call.prompt.endswith(self.question)

    def _is_asked(self, call: Call) -> bool:
        if not self.is_asked_by(call):
            return False
        self.calls.append(call)
        return True

    def _steps(self, go: Gate, now: Callable[[], float]) -> Iterator[Step]:
        yield chunk({"role": "assistant", "content": ""})
        pieces: list[Step] = [*map(Reasoning, self.reasoning), *self.text]
        pace = Pace(self.pause_s, now)
        for n, piece in enumerate(pieces):
            yield piece
            yield pace
            for _ in range(Hold.STEPS if n == 0 else 0):
                yield b": not yet\n\n"
                yield Hold(go)
        match self.end:
            case "drop":
                yield Drop()
            case "reset":
                yield Drop(reset=True)
            case "hang":
                yield Hang()
            case "garbage":
                yield b'data: {"choices": [{"delta": {"content": "\n\n'
                yield DONE
            case "error":
                yield event({"error": {"message": "The model fell over.", "code": 500}})
                yield DONE
            case "stop" | "length":
                yield chunk({}, self.end)
                if self.usage:
                    yield usage_chunk(self.usage)
                yield DONE


def cleaned(text: str) -> str:
    """What is promised of storing: no C0 controls but tab and LF."""
    return re.sub("[\x00-\x08\x0b-\x1f]", "", text)


def make(rng: random.Random, token: str, **fixed: Any) -> Reply:
    """A reply of some seconds, with Markdown of every shape that grows in its own way."""
    seconds = fixed.pop("seconds", None) or rng.uniform(3, 6)
    reasoning = rng.random() < 0.4
    words, shape = fixed.pop("words", rng.randint(80, 250)), fixed.pop("shape", "")
    text = "".join(markdown(rng, words, shape))
    thought = "".join(markdown(rng, rng.randint(10, 50))) if reasoning else ""
    size = rng.choice([6, 15, 40])
    pieces, thoughts = cut(rng, text, size), cut(rng, thought, size)
    end = fixed.pop("end", "stop" if rng.random() < 0.9 else "length")
    if end not in GOOD:
        pieces = pieces[: rng.randint(len(pieces) // 2, len(pieces))]
    tokens = rng.randint(5, 500), rng.randint(50, 5000)
    usage = {
        "prompt_tokens": tokens[0],
        "completion_tokens": tokens[1],
        "total_tokens": sum(tokens),
    }
    return Reply(
        token,
        pieces,
        thoughts,
        end,
        pause_s=seconds / (len(pieces) + len(thoughts)),
        usage=usage if rng.random() < 0.8 else None,
        is_busy_first=fixed.pop("is_busy_first", rng.random() < 0.1),
        **fixed,
    )


def cut(rng: random.Random, text: str, size: int) -> list[str]:
    """The text as deltas of about so many characters."""
    pieces, at = [], 0
    while at < len(text):
        width = rng.randint(1, 2 * size)
        pieces.append(text[at : at + width])
        at += width
    return pieces


def markdown(rng: random.Random, words: int, shape: str = "") -> Iterator[str]:
    """Blocks of every kind whose words are numbered k0. k1. k2., so that a hole is seen.

    With a `shape`, just one block, and of that kind.
    """
    kinds = [shape] if shape else "p p h ul ol table code quote nest maths ref".split()
    longest = words if shape else 30
    count = 0

    def some(most: int) -> str:
        nonlocal count
        said = []
        for _ in range(rng.randint(1, most)):
            word = rng.choice(WORDS)
            said.append(f"{rng.choice(FORMS).format(word)} k{count}.")
            count += 1
        return " ".join(said)

    def plain(most: int) -> str:
        nonlocal count
        first, count = count, count + rng.randint(1, most)
        return " ".join(f"x{n}=k{n}." for n in range(first, count))

    while count < words:
        match rng.choice(kinds):
            case "p":
                yield some(longest) + "\n\n"
            case "h":
                yield "#" * rng.randint(1, 4) + " " + some(4) + "\n\n"
            case "ul":
                yield "".join(f"- {some(6)}\n" for _ in range(rng.randint(1, 6))) + "\n"
            case "ol":
                yield "".join(f"{i + 1}. {some(6)}\n" for i in range(rng.randint(1, 6))) + "\n"
            case "table":
                rows = "".join(f"| {some(2)} | {some(2)} |\n" for _ in range(rng.randint(1, 5)))
                yield f"| one | two |\n|---|--:|\n{rows}\n"
            case "code":
                lines = "".join(f"    {plain(5)}\n" for _ in range(rng.randint(1, 8)))
                language = rng.choice(["python", "", "sh", "nothing"])
                yield f"```{language}\n{lines}```\n\n"
            case "quote":
                yield f"> {some(10)}\n>\n> {some(10)}\n\n"
            case "nest":
                yield f"- {some(4)}\n\n  ```\n  {plain(4)}\n  ```\n\n- {some(4)}\n  1. {some(4)}\n"
                yield f"\n  | one | two |\n  |---|---|\n  | {some(2)} | {some(2)} |\n\n"
                yield "".join(f"- {some(4)}\n\n" for _ in range(rng.randint(1, 3)))
            case "maths":
                yield f"{some(3)} $a^{{{count}}}$ {some(3)}\n\n"
            case "ref":
                yield f"{some(2)} [late][r{count}] {some(2)}\n\n"
                if rng.random() < 0.5:
                    yield f"[r{rng.randint(0, count)}]: https://example.org/{count}\n\n"


FORMS = ("{}", "{}", "{}", "{}", "**{}**", "_{}_", "`{}`", "[{}](https://example.org/)", "~~{}~~")
WORDS = (
    "поток stream слово 流れ 🧵 café naïve & < > \" ' <b>bold</b> https://example.org a*b x_y \\* "
    "e\u0301 \u2028 tab\there nul\x00ed bell\x07 cr\rcr {{x}} %s ❤\ufe0f 👩\u200d👩\u200d👧 مرحبا"
).split(" ")
