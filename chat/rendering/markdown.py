"""Markdown as safe HTML: the whole text at once, or a reply while it grows.

Pure: no Django, no I/O. Never raises; what can't be rendered is shown as it was written.
"""

import re
from typing import Literal, NamedTuple

from chat.rendering.parse import GUARD, OPEN, Piece, parse, plain

# Rendering more than this on an event loop would hold it for over 2 ms.
OFF_LOOP_CHARS = 4_000


class Block(NamedTuple):
    """One top-level block: the characters of the source it covers and its HTML, unwrapped.

    Blocks lie end to end: the first starts at 0, the last ends with the text.
    """

    start: int
    end: int
    html: str


class Patch(NamedTuple):
    """What changed in a container that holds one element for each block; idempotent.

    block: block `index` is `html`, replaced or added.
    text: `html` follows in the <code> of block `index`, which holds `at` UTF-16 units before it.
    item: `html` is child `at` of the list, or row `at` of the table's body, in block `index`.
    trim: only the blocks before `index` exist.
    """

    kind: Literal["block", "text", "item", "trim"]
    index: int  # type: ignore[assignment]  # hides tuple.index
    at: int
    html: str


def render(text: str) -> list[Block]:
    """The blocks of a text that is complete."""
    source = _printable(text)
    pieces = _parsed(source)
    starts = _starts(source, pieces)
    ends = [*starts[1:], len(source)]
    return [Block(*block) for block in zip(starts, ends, [p.html for p in pieces], strict=True)]


class Growing:
    """One reply while it streams."""

    def __init__(self) -> None:
        self.blocks: list[Block] = []
        self.length = 0
        self._text = ""

    def grow(self, text: str) -> list[Patch]:
        """What changed since the last call, now that `text` has been added."""
        self._text += text
        self.length += len(text)
        return self._show(render(self._text))

    def finish(self) -> list[Patch]:
        """The blocks whose final HTML differs from what was last shown."""
        return self._show(render(self._text))

    def since(self, length: int) -> list[Patch]:
        """For a reader who has the first `length` characters: whole blocks from there on."""
        patches = [
            Patch("block", index, 0, block.html)
            for index, block in enumerate(self.blocks)
            if block.end >= length
        ]
        return [*patches, Patch("trim", len(self.blocks), 0, "")]

    def _show(self, blocks: list[Block]) -> list[Patch]:
        shown, self.blocks = self.blocks, blocks
        patches = [
            Patch("block", index, 0, block.html)
            for index, block in enumerate(blocks)
            if index >= len(shown) or shown[index].html != block.html
        ]
        if len(blocks) < len(shown):
            patches.append(Patch("trim", len(blocks), 0, ""))
        return patches


_ODD = re.compile(f"[\r\ud800-\udfff{GUARD}{OPEN}]")


def _printable(text: str) -> str:
    """The text without what comrak can't take or we use ourselves, one character for one."""
    if not _ODD.search(text):
        return text
    return _ODD.sub(lambda match: " " if match[0] == "\r" else "\N{REPLACEMENT CHARACTER}", text)


def _parsed(source: str) -> list[Piece]:
    try:
        return parse(source)
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException:  # noqa: BLE001  # a panic in Rust is no Exception
        return [Piece(0, "plain", plain(source), [], is_loose=False)]


def _starts(source: str, pieces: list[Piece]) -> list[int]:
    """Where each block starts, in characters; the first at 0."""
    starts: list[int] = []
    at = line = 0
    for piece in pieces:
        while line < piece.line:
            at = source.index("\n", at) + 1
            line += 1
        starts.append(at if starts else 0)
    return starts
