"""Markdown source to the HTML of its top-level blocks, in our own shapes.

comrak escapes raw HTML, and nothing of its output is passed on but text and the tags written here.
That holds alone; `sanitise` comes after it all the same.
"""

import re
from functools import cache
from html import escape, unescape
from itertools import zip_longest
from typing import NamedTuple

import comrak

from chat.rendering import maths
from chat.rendering.shape import shaped

TABLE_MAX_COLUMNS = 100
TABLE_MAX_CELLS = 100_000
LATEX_MAX_SCAN = 50_000_000
# What comrak would take a time for that grows with the square, or end the process over: markers
# before one line and blanks before one; a word, in which an address ends only where the word does;
# addresses of mailboxes in one line, for each of which it descends once.
LINE_MAX_MARKERS, LINE_MAX_INDENT = 100, 300
WORD_MAX_CHARS = 4_000
LINE_MAX_MAILBOXES = 500
# Ends of elements in one text; whoever writes more is no longer read, and costs seconds.
TAGS_MAX = 100_000

# What may become a node of comrak's tree, of some 400 bytes each; the tree of a text of 2 MB that is
# nothing else takes half a gigabyte. Prose and code have a tenth of it.
NODES_MAX = 300_000

# A noncharacter that keeps a line from being taken for a block of its own; never in the output.
GUARD = "\ufdd0"


class Piece(NamedTuple):
    """One top-level block: its first line, its HTML, the first lines of its items or rows."""

    line: int
    tag: str
    html: str
    item_lines: list[int]
    is_loose: bool


def parse(source: str, *, is_open: bool = False) -> list[Piece]:
    """The blocks in order; lines count from 0.

    `is_open`: a code block that ends the source is still being written and stays plain. A block
    that is nested too deeply is shown as plain text, and so is all of a text with too many
    elements; an error in a library is raised.
    """
    if _has_too_many_nodes(source):
        return [Piece(0, "plain", plain(source), [], is_loose=False)]
    raw = _html(source)
    if raw.count("<") > TAGS_MAX:
        return [Piece(0, "plain", plain(source), [], is_loose=False)]
    shapes = list(shaped(raw.replace(GUARD, ""), is_open=is_open))
    ends = [shape.line for shape in shapes[1:]]
    lines = source.split("\n") if any(shape.is_too_deep for shape in shapes) else []
    return [
        Piece(
            shape.line,
            shape.tag,
            plain("\n".join(lines[shape.line : end])) if shape.is_too_deep else shape.html,
            shape.item_lines,
            shape.is_loose,
        )
        for shape, end in zip_longest(shapes, ends)
    ]


_IMAGE = re.compile(r'<img[^>]* alt="([^"]*)"[^>]*>')
_WITHIN_LINE = re.compile(r"</?(?:a|code|del|em|span|strong)\b[^>]*>")
_TAG = re.compile(r"<[^>]*>")


def said(source: str) -> str:
    """The text without its markup, as if read aloud: for an excerpt, never as HTML."""
    if _has_too_many_nodes(source):
        return source
    html = _IMAGE.sub(r"\1", _html(source).replace(GUARD, ""))
    return unescape(_TAG.sub(" ", _WITHIN_LINE.sub("", html))).strip()


def plain(text: str) -> str:
    """Text that could not be rendered, whole and as it was written."""
    head, tail = plain_ends()
    return head + escape(text, quote=False) + tail


def plain_ends() -> tuple[str, str]:
    return '<pre class="plain" dir="auto"><code>', "</code></pre>"


def _has_too_many_nodes(source: str) -> bool:
    return sum(map(source.count, _NODES)) > NODES_MAX


def _html(source: str) -> str:
    return str(
        comrak.render_markdown(_guarded(source), *_options(with_latex=_has_cheap_latex(source)))
    )


# --- before comrak ---

# Where comrak cuts a line of text ("w" may begin an address), and what may stand for a block.
_NODES = [*"\n*_`~[]!&\\<:@w$|", "- ", "+ ", "> ", ". ", ") "]
_PREFIX = r"[ \t>]*(?:(?:[-+*]|\d{1,9}[.)])[ \t]+)*"
_LINE_TAG = re.compile(rf"^({_PREFIX})(?=<)", re.M)
_DISPLAY = re.compile(rf"^({_PREFIX})(\$\$|\\\[)", re.M)
_END_OF_LINE = re.compile(r"[ \t.,;]*$", re.M)
_FENCE_LINE = re.compile(r"^[ \t>]*(?:```|~~~)", re.M)
_DELIMITER_ROW = re.compile(r"^[ \t|:>*+\d.)-]+$", re.M)
_BLANK_LINE = re.compile(r"\n[ \t>]*\n")
_MARKER = r"(?:>|[-+*](?=[ \t])|\d{1,9}[.)](?=[ \t]))"
_DEEP_LINE = re.compile(
    rf"^(?=(?:[ \t]*{_MARKER}){{{LINE_MAX_MARKERS + 1}}}|[ \t]{{{LINE_MAX_INDENT}}})", re.M
)
_LONG_WORD = re.compile(rf"[^ \t\n\r\f\v]{{{WORD_MAX_CHARS + 1},}}")
_ADDRESS = re.compile(r"(?<=[:@])|(?<=www)", re.I)
_MAILBOXES = re.compile(rf"^(?:[^@\n]*@){{{LINE_MAX_MAILBOXES + 1},}}", re.M)


def _guarded(source: str) -> str:
    """The source with GUARD where a line must not start a block; no line is added or taken."""
    source = _DEEP_LINE.sub(GUARD, source)
    source = _LONG_WORD.sub(lambda word: _ADDRESS.sub(GUARD, word[0]), source)
    source = _MAILBOXES.sub(lambda line: line[0].replace("@", f"@{GUARD}"), source)
    if "<" in source:
        # No raw HTML, so no HTML blocks either: one of them could swallow all that follows.
        source = _LINE_TAG.sub(rf"\1{GUARD}", source)
    if "$$" in source or "\\[" in source:
        source = _guarded_formulas(source)
    if "|" in source:
        source = _guarded_tables(source)
    return source


def _guarded_formulas(source: str) -> str:
    """Display formulas whose lines can't become list items or quotes, or end their paragraph."""
    parts, done, at = [], 0, 0
    while match := _DISPLAY.search(source, at):
        closing = "$$" if match[2] == "$$" else "\\]"
        at = match.end()
        end = source.find(closing, at, at + maths.FORMULA_MAX_CHARS) + len(closing)
        if end < len(closing) or not _END_OF_LINE.match(source, end):
            continue
        formula = source[at:end]
        if "\n" in formula and not _FENCE_LINE.search(formula):
            quotes = match[1].count(">")
            line_start = rf"\n([ \t]*(?:>[ \t]*){{0,{quotes}}})"
            parts += [source[done:at], re.sub(line_start, rf"\n\1{GUARD}", formula)]
            done = end
        at = end
    return "".join([*parts, source[done:]])


def _guarded_tables(source: str) -> str:
    """Rows are filled up to the header's width, so a few bytes could ask for gigabytes of cells."""
    end = rows = 0

    def guarded(match: re.Match[str]) -> str:
        nonlocal end, rows
        row = match[0]
        if "|" not in row or "-" not in row:
            return row
        if match.start() >= end:
            blank = _BLANK_LINE.search(source, match.end())
            end = blank.start() if blank else len(source)
            rows = source.count("\n", match.end(), end) + 1
        columns = row.count("|") + 1
        is_fair = columns <= TABLE_MAX_COLUMNS and columns * rows <= TABLE_MAX_CELLS
        return row if is_fair else GUARD + row

    return _DELIMITER_ROW.sub(guarded, source)


def _has_cheap_latex(source: str) -> bool:
    """Whether comrak may look for \\( and \\[: it searches a paragraph anew for each open one."""
    count = source.count("\\(") + source.count("\\[")
    if count == 0:
        return False
    if count * len(source) <= LATEX_MAX_SCAN:
        return True
    return all(
        (part.count("\\(") + part.count("\\[")) * len(part) <= LATEX_MAX_SCAN // 10
        for part in _BLANK_LINE.split(source)
    )


@cache
def _options(
    *, with_latex: bool
) -> tuple[comrak.ExtensionOptions, comrak.ParseOptions, comrak.RenderOptions]:
    extensions = comrak.ExtensionOptions()
    extensions.autolink = extensions.strikethrough = True
    extensions.table = extensions.tasklist = True
    extensions.math_dollars = True
    extensions.math_latex = with_latex
    render = comrak.RenderOptions()
    render.escape = render.sourcepos = render.full_info_string = True
    return extensions, comrak.ParseOptions(), render
