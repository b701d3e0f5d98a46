"""A reply as it came: its steps and when each was there, from what was noted at its checkpoints.

A checkpoint tells milliseconds since the claim and the lengths of reasoning and text, several times a
second. An attempt that went on where an earlier one had been cut follows it on the same line of time,
without the wait between.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, NamedTuple

from django.utils.formats import number_format
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _

from chat.models import Generation, Message
from chat.rendering.markdown import Growing, render
from chat.rendering.thread import Shown, safe, shown

from .figures import whole

STALL_MS = 3_000
MAX_STEPS = 240
Status = Message.Status


class Frame(NamedTuple):
    """What was there at a moment, in characters."""

    at_ms: int
    reasoning: int
    text: int

    @property
    def characters(self) -> int:
        return self.reasoning + self.text


class Mark(NamedTuple):
    """Something beside the text: `kind` is start, attempt, first, stall or end."""

    at_ms: int
    kind: str
    label: str
    for_ms: int = 0

    @property
    def at(self) -> str:
        return seconds(self.at_ms)


@dataclass
class Block:
    """A block that a step adds or changes, under the id that it has in the message."""

    id: str
    html: SafeString


@dataclass
class Step:
    frame: Frame
    rate: str  # characters a second since the step before
    marks: list[Mark]
    blocks: list[Block]
    reasoning_blocks: int
    body_blocks: int

    @property
    def at(self) -> str:
        return seconds(self.frame.at_ms)


@dataclass
class Replay:
    m: Shown
    steps: list[Step]
    marks: list[Mark]
    length_ms: int
    was_changed: bool  # by its owner, afterwards

    @property
    def length(self) -> str:
        return seconds(self.length_ms)

    @property
    def told(self) -> str:
        """How the page's script is to tell seconds."""
        return _("%(seconds)s s") % {"seconds": "#"}

    @property
    def curve(self) -> str:
        """The characters over time as points of a drawing of 1000 by 100."""
        most = max((step.frame.characters for step in self.steps), default=0) or 1
        points, before = ["0,100"], 100.0
        for step in self.steps:
            x, y = self.x(step.frame.at_ms), 100 - 100 * step.frame.characters / most
            # A step and no slope: between two checkpoints nothing is known to have come.
            points += [f"{x:.1f},{before:.1f}", f"{x:.1f},{y:.1f}"]
            before = y
        return " ".join([*points, f"1000,{before:.1f}"])

    def x(self, at_ms: int) -> float:
        return 1000 * at_ms / (self.length_ms or 1)

    @property
    def drawn(self) -> list[dict[str, Any]]:
        """Each mark with its place in the drawing, and the row of the table that it belongs to."""
        rows = {mark: row for row, step in enumerate(self.steps, 1) for mark in step.marks}
        return [
            {
                "mark": mark,
                "row": rows.get(mark, 1),
                "x": f"{self.x(mark.at_ms):.1f}",
                "width": f"{max(self.x(mark.for_ms), 2):.1f}",
            }
            for mark in self.marks
        ]


def of(message: Message) -> Replay:
    """`message` fetched for display. Without steps where nothing was noted."""
    attempts = _since_it_began(message)
    frames, marks, length_ms = _line_of_time(attempts)
    original = message.revisions.order_by("pk").first()
    if original is not None:
        message.text = original.text
    (m,) = shown([message], is_read_only=True)
    steps = list(_steps(message, thinned(frames, length_ms), marks))
    return Replay(m, steps, marks, length_ms, was_changed=original is not None)


def _since_it_began(message: Message) -> list[Generation]:
    """The attempts whose text is in it: a retry in its place began with none."""
    attempts = list(message.generations.order_by("pk").prefetch_related("calls"))
    begun = [n for n, each in enumerate(attempts) if not (each.base_text or each.base_reasoning)]
    return attempts[begun[-1] :] if begun else attempts


def _line_of_time(attempts: list[Generation]) -> tuple[list[Frame], list[Mark], int]:
    frames: list[Frame] = []
    marks: list[Mark] = []
    start_ms = 0
    for number, attempt in enumerate(attempts):
        found = [Frame(start_ms + ms, r, t) for ms, r, t in noted(attempt.timings)]
        end_ms = max(start_ms + _took_ms(attempt), found[-1].at_ms if found else start_ms)
        label = _("gone on with") if number else _("taken up")
        marks.append(Mark(start_ms, "start", label))
        marks += _calls(attempt, start_ms)
        if found:
            marks.append(Mark(found[0].at_ms, "first", _("first words")))
        marks += stalls(found, end_ms if attempt.ended_at else None)
        if attempt.ended_at:
            marks.append(Mark(end_ms, "end", _ending(attempt)))
        frames += found
        start_ms = end_ms
    return frames, sorted(marks, key=lambda mark: mark.at_ms), start_ms


def noted(timings: str) -> list[tuple[int, int, int]]:
    """(milliseconds, length of reasoning, of text) of each checkpoint."""
    lines = (line.split() for line in timings.splitlines())
    return [(int(ms), int(reasoning), int(text)) for ms, reasoning, text in lines]


def stalls(frames: list[Frame], end_ms: int | None) -> Iterator[Mark]:
    """Where nothing came for long after something had come."""
    moments = [frame.at_ms for frame in frames] + ([end_ms] if end_ms is not None else [])
    for before, after in pairwise(moments):
        if after - before > STALL_MS:
            told = _("nothing for %(seconds)s") % {"seconds": seconds(after - before)}
            yield Mark(before, "stall", told, after - before)


def _took_ms(attempt: Generation) -> int:
    if attempt.claimed_at is None or attempt.ended_at is None:
        return 0
    return round((attempt.ended_at - attempt.claimed_at).total_seconds() * 1000)


def _calls(attempt: Generation, start_ms: int) -> Iterator[Mark]:
    """Requests after the first of an attempt: another try, or another gateway."""
    for call in attempt.calls.all():
        if call.attempt > 1 and attempt.claimed_at:
            after = (call.started_at - attempt.claimed_at).total_seconds() * 1000
            label = _("call %(n)d, %(gateway)s") % {"n": call.attempt, "gateway": call.gateway_slug}
            yield Mark(start_ms + max(round(after), 0), "attempt", label)


def _ending(attempt: Generation) -> str:
    status = str(Status(attempt.status).label)
    why = attempt.error_kind or (attempt.finish_reason if attempt.finish_reason != "stop" else "")
    return f"{status}: {why}" if why else status


def thinned(frames: list[Frame], length_ms: int) -> list[Frame]:
    """No more than MAX_STEPS of them, the last of each span of time, and the very first."""
    if len(frames) <= MAX_STEPS:
        return frames
    last = {frame.at_ms * (MAX_STEPS - 1) // (length_ms + 1): frame for frame in frames}
    return sorted({frames[0], *last.values()})


def _steps(message: Message, frames: list[Frame], marks: list[Mark]) -> Iterator[Step]:
    is_cut = message.is_cut
    without_text = is_cut and not message.text
    reasoning = _Part(f"m-{message.uuid}-rb", message.reasoning, is_cut=without_text)
    body = _Part(f"m-{message.uuid}-b", message.text, is_cut=is_cut)
    before = Frame(0, 0, 0)
    waiting = [mark for mark in marks if mark.kind != "start" or mark.at_ms]
    for number, frame in enumerate(frames, 1):
        is_last = number == len(frames) and not message.is_open
        blocks = [
            *reasoning.reach(frame.reasoning, is_last=is_last),
            *body.reach(frame.text, is_last=is_last),
        ]
        until = frames[number].at_ms if number < len(frames) else None
        here = [m for m in waiting if until is None or m.at_ms < until]
        waiting = waiting[len(here) :]
        yield Step(frame, _rate(before, frame), here, blocks, len(reasoning.shown), len(body.shown))
        before = frame


class _Part:
    """Reasoning or text while it grows, and which of its blocks each step changes."""

    def __init__(self, prefix: str, text: str, *, is_cut: bool) -> None:
        self._prefix, self._text, self._is_cut = prefix, text, is_cut
        self._growing = Growing()
        self._length = 0
        self.shown: list[str] = []

    def reach(self, length: int, *, is_last: bool) -> list[Block]:
        if length > self._length:
            self._growing.grow(self._text[self._length : length])
            self._length = length
        blocks = self._growing.blocks
        if is_last:
            blocks = render(self._text, is_cut=self._is_cut)
        now = [block.html for block in blocks]
        changed = [
            Block(f"{self._prefix}-{n}", safe(html))
            for n, html in enumerate(now)
            if n >= len(self.shown) or self.shown[n] != html
        ]
        self.shown = now
        return changed


def _rate(before: Frame, frame: Frame) -> str:
    took_ms = frame.at_ms - before.at_ms
    grown = frame.characters - before.characters
    return whole(round(1000 * grown / took_ms)) if took_ms > 0 and grown >= 0 else ""


def seconds(ms: int) -> str:
    return _("%(seconds)s s") % {"seconds": number_format(ms / 1000, 1)}
