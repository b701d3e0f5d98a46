"""Streams and HTTP answers with what a careful client makes of them.

The written ones are in tests/streams/. Recorded ones belong to others and are not in the project:
they are read from POTOK_STREAMS_DIR (holds index.json and the .sse files; http_errors.json there
or beside it), else from shared/streams beside the project; without them their tests are skipped.
"""

import base64
import json
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

WRITTEN = Path(__file__).parent / "streams"
_BESIDE = Path(__file__).parents[2] / "shared" / "streams"
RECORDED = Path(os.environ.get("POTOK_STREAMS_DIR") or _BESIDE)


@dataclass(frozen=True)
class Stream:
    name: str
    path: Path
    expected: dict[str, Any]

    @property
    def body(self) -> bytes:
        return self.path.read_bytes()

    @property
    def text(self) -> str:
        """What the page shows as the answer: a refusal is text, <think> blocks are not."""
        content = self.expected.get("think_split", self.expected)["content"]
        return content + (self.expected.get("refusal") or "")

    @property
    def reasoning(self) -> str:
        return self.expected.get("think_split", self.expected)["reasoning"]


@dataclass(frozen=True)
class Answer:
    name: str
    status: int
    headers: dict[str, str]
    body: bytes
    expected: dict[str, Any]


def streams() -> list[Stream]:
    """The written ones, and the recorded ones where they are to be had; written ones first."""
    found = {stream.name: stream for stream in _streams(RECORDED)}
    return list(({stream.name: stream for stream in _streams(WRITTEN)} | found).values())


def answers() -> list[Answer]:
    """Whole HTTP answers that are no good stream."""
    found = _answers(RECORDED) or _answers(RECORDED.parent)
    written = {answer.name: answer for answer in _answers(WRITTEN)}
    return list((written | {answer.name: answer for answer in found}).values())


def each(cases: Iterable[Stream | Answer]) -> pytest.MarkDecorator:
    """Parametrize `case`; says by one skipped case that the recorded ones are missing."""
    params = [pytest.param(case, id=case.name) for case in cases]
    if not _streams(RECORDED):
        missing = pytest.mark.skip(reason="recorded streams are not here (POTOK_STREAMS_DIR)")
        params.append(pytest.param(None, id="recorded", marks=missing))
    return pytest.mark.parametrize("case", params)


def _streams(directory: Path) -> list[Stream]:
    index = directory / "index.json"
    if not index.is_file():
        return []
    return [
        Stream(entry["file"].removesuffix(".sse"), directory / entry["file"], entry["expected"])
        for entry in json.loads(index.read_text())
    ]


def _answers(directory: Path) -> list[Answer]:
    index = directory / "http_errors.json"
    if not index.is_file():
        return []
    return [
        Answer(
            entry["name"],
            entry["status"],
            entry["headers"],
            entry["body"].encode() if directory == WRITTEN else base64.b64decode(entry["body"]),
            entry["expected"],
        )
        for entry in json.loads(index.read_text())
    ]
