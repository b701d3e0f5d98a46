"""Words as search knows them: folded, cut from text and from queries, found again for a snippet.

Pure: no Django and no I/O. Both databases index what `spread` gives, so both find the same.
"""

import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

# A longer text is found by its beginning only: PostgreSQL refuses a vector of more than 1 MB.
INDEXED_CHARS = 100_000
QUERY_CHARS = 200
TERMS = 8
# Fewer letters are too common a beginning: they are looked for as a whole word.
LEAST_PREFIX = 3
LEAST_STEM = 3
BEFORE_CHARS = 60
SNIPPET_CHARS = 240

_WORD = re.compile(r"[^\W_]+")
_QUOTES = '"«»“”„'
_PART = re.compile(rf"[{_QUOTES}]([^{_QUOTES}]*)[{_QUOTES}]?|([^\s{_QUOTES}]+)")
# What Russian and English words most often end in; a stem only widens what a prefix finds.
_ENDING = re.compile(
    r"(?:иями|ями|ами|ого|его|ому|ему|ыми|ими|ых|их|ую|юю|ая|яя|ое|ее|ые|ие|ой|ей|ий|ый|ов|ев"
    r"|ам|ям|ах|ях|ом|ем|ою|ею|[аеиоуыюяьй]|ing|ed|es|s)$"
)


def fold(text: str) -> str:
    """What two spellings of a word share: compatibility forms, case and ё are no difference."""
    return unicodedata.normalize("NFKC", text).casefold().replace("ё", "е")


def spread(text: str) -> str:
    """The words of a text, folded, with one space between: what is indexed."""
    return " ".join(_WORD.findall(fold(text[:INDEXED_CHARS])))


@dataclass(frozen=True)
class Term:
    """Words that follow each other; where `is_whole`, the last may not go on with other letters."""

    words: tuple[str, ...]
    is_whole: bool = False

    @property
    def start(self) -> str:
        """How the last word must begin."""
        word = self.words[-1]
        if self.is_whole:
            return word
        stem = _ENDING.sub("", word)
        return stem if len(stem) >= LEAST_STEM else word

    @property
    def is_prefix(self) -> bool:
        return not self.is_whole and len(self.words[-1]) >= LEAST_PREFIX


def terms(query: str) -> list[Term]:
    """What a query asks for: all of its words and "phrases", the first few of them."""
    found: list[Term] = []
    for match in _PART.finditer(query[:QUERY_CHARS]):
        phrase, word = match.groups()
        words = tuple(_WORD.findall(fold(word if phrase is None else phrase)))
        term = Term(words, is_whole=phrase is not None)
        if words and term not in found:
            found.append(term)
    return found[:TERMS]


@dataclass(frozen=True)
class Piece:
    """A part of a snippet, and whether it is what was looked for."""

    text: str
    is_found: bool = False


def snippet(text: str, wanted: Sequence[Term]) -> list[Piece]:
    """The place where the first of the terms stands, on one line, what was found apart."""
    spans = list(_spans(text, wanted))
    first = spans[0][0] if spans else 0
    start = _word_start(text, max(0, first - BEFORE_CHARS))
    end = min(len(text), start + SNIPPET_CHARS)
    pieces = [Piece("…")] if start else []
    at = start
    for left, right in spans:
        if left < at or left >= end:
            continue
        pieces += [Piece(_one_line(text[at:left])), Piece(text[left:right], is_found=True)]
        at = right
    pieces.append(Piece(_one_line(text[at : max(at, end)]) + ("…" if end < len(text) else "")))
    return [piece for piece in pieces if piece.text]


def marked(text: str, wanted: Sequence[Term]) -> list[Piece]:
    """The whole of a short text, what was found apart."""
    pieces, at = [], 0
    for left, right in _spans(text, wanted):
        if left >= at:
            pieces += [Piece(text[at:left]), Piece(text[left:right], is_found=True)]
            at = right
    return [piece for piece in [*pieces, Piece(text[at:])] if piece.text]


def _spans(text: str, wanted: Iterable[Term]) -> list[tuple[int, int]]:
    """Where the terms stand in the text, from left to right."""
    text = text[:INDEXED_CHARS]
    folded, places = _with_places(text)
    found = [
        (places[m.start()], places[m.end()])
        for pattern in map(_pattern, wanted)
        for m in pattern.finditer(folded)
    ]
    return sorted(found)


def _pattern(term: Term) -> re.Pattern[str]:
    *before, _last = term.words
    tail = r"[^\W_]*" if term.is_prefix else r"(?![^\W_])"
    words = [*map(re.escape, before), re.escape(term.start) + tail]
    return re.compile(r"(?<![^\W_])" + r"[\W_]+".join(words))


def _with_places(text: str) -> tuple[str, Sequence[int]]:
    """The folded text, and for each place in it the one in the text."""
    folded = fold(text)
    if len(folded) == len(text):
        return folded, range(len(text) + 1)
    parts = [fold(char) for char in text]
    places = [place for place, part in enumerate(parts) for _ in part]
    return "".join(parts), [*places, len(text)]


def _word_start(text: str, at: int) -> int:
    """The first word that begins there or soon after."""
    if at == 0:
        return 0
    space = re.compile(r"\s").search(text, at, at + BEFORE_CHARS // 2)
    return space.end() if space else at


def _one_line(text: str) -> str:
    return re.sub(r"\s+", " ", text)
