"""A whole text as its top-level blocks."""

import re
from typing import NamedTuple

from chat.rendering.parse import GUARD, Piece, parse, plain
from chat.rendering.sanitise import sanitise
from chat.rendering.shape import OPEN


class Block(NamedTuple):
    """One top-level block: the characters of the source it covers and its HTML, unwrapped.

    Blocks lie end to end: the first starts at 0, the last ends with the text.
    """

    start: int
    end: int
    html: str


def render(text: str) -> list[Block]:
    """The blocks of a text that is complete."""
    source = printable(text)
    pieces = pieces_of(source)
    starts = line_starts(source, [piece.line for piece in pieces])
    return end_to_end(starts, len(source), [piece.html for piece in pieces])


def end_to_end(starts: list[int], length: int, htmls: list[str]) -> list[Block]:
    """Blocks that reach from one start to the next, over a text of this length."""
    edges = [0, *starts[1:], length]
    return [Block(edges[i], edges[i + 1], html) for i, html in enumerate(htmls)]


def pieces_of(source: str, *, is_open: bool = False) -> list[Piece]:
    """The parsed and sanitised blocks; the text as it was written where a library fails."""
    try:
        pieces = parse(source, is_open=is_open)
        return [piece._replace(html=sanitise(piece.html)) for piece in pieces]
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException:  # noqa: BLE001  # a panic in Rust is no Exception
        return [Piece(0, "plain", plain(source), [], is_loose=False)]


_ODD = re.compile(f"[\r\ud800-\udfff{GUARD}{OPEN}]")


def printable(text: str) -> str:
    """The text without what comrak can't take or we use ourselves, one character for one."""
    if not _ODD.search(text):
        return text
    return _ODD.sub(lambda match: " " if match[0] == "\r" else "\N{REPLACEMENT CHARACTER}", text)


def line_starts(source: str, lines: list[int]) -> list[int]:
    """Where each of these lines (ascending, from 0) starts, in characters."""
    starts: list[int] = []
    at = line = 0
    for wanted in lines:
        while line < wanted:
            at = source.index("\n", at) + 1
            line += 1
        starts.append(at)
    return starts
