"""A whole text as its top-level blocks."""

import re
from typing import NamedTuple

from chat.rendering.closing import closed, closed_code
from chat.rendering.parse import GUARD, Piece, parse, plain, said
from chat.rendering.sanitise import sanitise
from chat.rendering.shape import OPEN

# Of a longer end nothing is closed, so that no text costs more than it is long.
END_MAX_CHARS = 16_000


class Block(NamedTuple):
    """One top-level block: the characters of the source it covers and its HTML, unwrapped.

    Blocks lie end to end: the first starts at 0, the last ends with the text.
    """

    start: int
    end: int
    html: str


def render(text: str, *, is_cut: bool = False) -> list[Block]:
    """The blocks of a text to which nothing more comes.

    `is_cut`: it ends where something cut it off, so that the markup that is open there is closed,
    as it was shown while the text grew. No word is held back.
    """
    source = printable(text)
    pieces = pieces_of(source)
    starts = line_starts(source, [piece.line for piece in pieces])
    if is_cut and pieces and (shown := _ended(source, starts, pieces[-1])) != source:
        # Of a lone mark nothing would be left.
        pieces = pieces_of(shown) or pieces
        starts = line_starts(source, [piece.line for piece in pieces])
    return end_to_end(starts, len(source), [piece.html for piece in pieces])


_ENDS_IN_CODE = re.compile(r"</code></pre></div>(?:</\w+>)*\Z")
_ENDS_BLANK = re.compile(r"\n[ \t>]*\n\Z")
_WORD = re.compile(r"[^\W_]+")
# Where a link leads is not shown, so that one which is not whole need not be.
_ADDRESS_BEGUN = re.compile(r"\](?:\([^)]*|\[[^\]]*)\Z")


def _ended(source: str, starts: list[int], last: Piece) -> str:
    """The source with what is open at its end closed, unless a word were lost by it."""
    if _ENDS_IN_CODE.search(last.html):
        return closed_code(source)
    at = starts[-1]
    # An open formula may look as if a list began in it.
    for start in reversed(starts[:-1]):
        if _ENDS_BLANK.search(source, start, at):
            break
        at = start
    end = source[at:]
    shown = closed(end) if len(end) <= END_MAX_CHARS else end
    words = _WORD.findall(shown)
    is_whole = words in (_WORD.findall(end), _WORD.findall(_ADDRESS_BEGUN.sub("", end)))
    return source[:at] + shown if is_whole else source


def plain_text(text: str) -> str:
    """What its reader sees of a text, without markup."""
    source = printable(text)
    try:
        return said(source)
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException:  # noqa: BLE001  # a panic in Rust is no Exception
        return source


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
