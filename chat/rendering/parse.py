"""Markdown source to the safe HTML of its top-level blocks: comrak, our shapes, then nh3.

Each layer holds alone: comrak escapes raw HTML and this module writes only the tags below; nh3 lets
nothing through but the same tags, whatever it is given.
"""

import re
from collections.abc import Iterator
from functools import cache
from html import escape, unescape
from typing import NamedTuple

import comrak

from chat.rendering import code, links, maths
from chat.rendering.sanitise import sanitise

DEPTH_MAX = 100
TABLE_MAX_COLUMNS = 100
TABLE_MAX_CELLS = 100_000
LATEX_MAX_SCAN = 50_000_000

# Two noncharacters. GUARD keeps a line from being taken for a block of its own and is removed
# from the output; OPEN ends a formula that is not closed yet.
GUARD = "\ufdd0"
OPEN = "\ufdd1"


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
    that is nested too deeply is shown as plain text; an error in a library is raised.
    """
    raw = comrak.render_markdown(_guarded(source), *_options(with_latex=_has_cheap_latex(source)))
    shaper = _Shaper(raw.replace(GUARD, ""), is_open=is_open)
    pieces = []
    lines: list[str] = []
    drafts = list(shaper.run())
    for at, draft in enumerate(drafts):
        if draft.too_deep:
            lines = lines or source.split("\n")
            end = drafts[at + 1].line if at + 1 < len(drafts) else len(lines)
            html = plain("\n".join(lines[draft.line : end]))
        else:
            html = sanitise("".join(draft.out))
        pieces.append(Piece(draft.line, draft.tag, html, draft.item_lines, draft.is_loose))
    return pieces


def plain(text: str) -> str:
    """Text that could not be rendered, whole and as it was written."""
    head, tail = plain_ends()
    return head + escape(text, quote=False) + tail


def plain_ends() -> tuple[str, str]:
    return '<pre class="plain" dir="auto"><code>', "</code></pre>"


# --- before comrak ---

_PREFIX = r"[ \t>]*(?:(?:[-+*]|\d{1,9}[.)])[ \t]+)*"
_LINE_TAG = re.compile(rf"^({_PREFIX})(?=<)", re.M)
_DISPLAY = re.compile(rf"^{_PREFIX}(\$\$|\\\[)", re.M)
_END_OF_LINE = re.compile(r"[ \t.,;]*$", re.M)
_FENCE_LINE = re.compile(r"^[ \t>]*(?:```|~~~)", re.M)
_LINE_START = re.compile(r"\n([ \t>]*)")
_DELIMITER_ROW = re.compile(r"^[ \t|:>*+\d.)-]+$", re.M)
_BLANK_LINE = re.compile(r"\n[ \t>]*\n")


def _guarded(source: str) -> str:
    """The source with GUARD where a line must not start a block; no line is added or taken."""
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
        closing = "$$" if match[1] == "$$" else "\\]"
        at = match.end()
        end = source.find(closing, at, at + maths.FORMULA_MAX_CHARS) + len(closing)
        if end < len(closing) or not _END_OF_LINE.match(source, end):
            continue
        formula = source[at:end]
        if "\n" in formula and not _FENCE_LINE.search(formula):
            parts += [source[done:at], _LINE_START.sub(rf"\n\1{GUARD}", formula)]
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


# --- after comrak ---

_TAG = re.compile(r"<(/?)([a-z0-9]+)([^>]*)>([^<]*)")
_ATTRIBUTE = re.compile(r'([a-z-]+)="([^"]*)"')
_SPACED = {
    *("p", "ul", "ol", "li", "blockquote", "pre", "hr"),
    *("table", "thead", "tbody", "tr", "td", "th"),
}
_HEADINGS = {"h1": "h2", "h2": "h3", "h3": "h4", "h4": "h5", "h5": "h6", "h6": "h6"}
_PLAIN_TAGS = {"em", "strong", "del", "ul", "thead", "tbody", "tr"}
_DIRECTED = {"p", "li", "blockquote"}


class _Draft:
    """A top-level block while its HTML is being written."""

    def __init__(self, line: int, tag: str) -> None:
        self.line = line
        self.tag = tag
        self.out: list[str] = []
        self.item_lines: list[int] = []
        self.is_loose = False
        self.too_deep = False


class _Shaper:
    """comrak's HTML, tag by tag, into ours; no white space between blocks."""

    def __init__(self, html: str, *, is_open: bool) -> None:
        self._html = html
        self._open_code_at = _end_of_last_code(html) if is_open else -1
        self._out: list[str] = []
        self._stack: list[str] = []
        self._link: tuple[int, str] | None = None

    def run(self) -> Iterator[_Draft]:
        draft = _Draft(0, "")
        for match in _TAG.finditer(self._html):
            end, tag, attributes, text = match.groups()
            if end:
                self._stack.pop()
                if not draft.too_deep:
                    self._close(tag, text)
                if not self._stack:
                    yield draft
                continue
            is_void = attributes.endswith("/")
            if not self._stack:
                draft = _Draft(_line(attributes), tag)
                self._out = draft.out
            if not is_void:
                self._stack.append(tag)
            if len(self._stack) > DEPTH_MAX:
                draft.too_deep = True
            if not draft.too_deep:
                self._note(draft, tag, attributes)
                self._open(tag, attributes, text, match.start())
            if is_void and not self._stack:
                yield draft

    def _note(self, draft: _Draft, tag: str, attributes: str) -> None:
        depth = len(self._stack)
        if (tag == "li" and depth == 2) or (
            tag == "tr" and depth == 3 and self._stack[1] == "tbody"
        ):
            draft.item_lines.append(_line(attributes))
        elif tag == "p" and depth == 3 and self._stack[1] == "li":
            draft.is_loose = True

    def _open(self, tag: str, attributes: str, text: str, at: int) -> None:
        out = self._out
        if tag in _SPACED:
            if out and out[-1].endswith("\n"):
                out[-1] = out[-1].rstrip("\n")
            text = text.lstrip("\n") if text.isspace() else text
        if tag in _DIRECTED:
            out.append(f'<{tag} dir="auto">')
        elif tag in _PLAIN_TAGS:
            out.append(f"<{tag}>")
        elif tag in _HEADINGS:
            out.append(f'<{_HEADINGS[tag]} dir="auto">')
        elif tag == "code":
            if self._stack[-2:-1] == ["pre"]:
                info = unescape(_attribute(attributes, "class").removeprefix("language-"))
                colour = at != self._open_code_at
                out.append(code.frame(info, unescape(text), colour=colour))
                return
            out.append("<code>")
        elif tag == "span":
            out.append(_formula(attributes, unescape(text)))
            return
        elif tag == "a":
            self._link = (len(out), unescape(_attribute(attributes, "href")))
            out.append("")
        elif tag == "img":
            address = unescape(_attribute(attributes, "src"))
            words = unescape(_attribute(attributes, "alt"))
            if self._link:
                out.append(escape(words, quote=False))
            else:
                out.append(links.image(address, words))
        elif tag in ("td", "th"):
            align = _attribute(attributes, "align")
            mark = f' class="align-{align}"' if align in ("left", "right", "center") else ""
            out.append(f'<{tag} dir="auto"{mark}>')
        elif tag == "table":
            out.append('<div class="table"><table>')
        elif tag == "ol":
            start = _attribute(attributes, "start")
            out.append(f'<ol start="{start}">' if start.isdecimal() else "<ol>")
        elif tag in ("br", "hr"):
            out.append(f"<{tag}>")
        elif tag == "input":
            checked = ' checked=""' if "checked" in attributes else ""
            out.append(f'<input type="checkbox" disabled=""{checked}>')
        out.append(text)

    def _close(self, tag: str, text: str) -> None:
        out = self._out
        if tag == "a" and self._link:
            at, address = self._link
            self._link = None
            out[at:] = [links.link(address, "".join(out[at:]))]
        elif tag == "code" and self._stack[-1:] == ["pre"]:
            return
        elif tag == "table":
            out.append("</table></div>")
        elif tag in _HEADINGS:
            out.append(f"</{_HEADINGS[tag]}>")
        elif tag not in ("pre", "span"):
            out.append(f"</{tag}>")
        if text.isspace() and (tag in _SPACED or tag in _HEADINGS):
            return
        out.append(text)


def _formula(attributes: str, source: str) -> str:
    if source.endswith(OPEN):
        return maths.as_code(source.removesuffix(OPEN))
    display = _attribute(attributes, "data-math-style") == "display"
    return maths.typeset(source.strip(), display=display)


def _end_of_last_code(html: str) -> int:
    """Where the <code> tag starts that nothing but closing tags follows, or -1."""
    at = html.rfind("<code")
    return (
        at
        if at >= 0 and re.fullmatch(r"<code[^>]*>[^<]*</code></pre>[\s]*(?:</\w+>\s*)*", html[at:])
        else -1
    )


def _line(attributes: str) -> int:
    return int(_attribute(attributes, "data-sourcepos").partition(":")[0]) - 1


def _attribute(attributes: str, name: str) -> str:
    for match in _ATTRIBUTE.finditer(attributes):
        if match[1] == name:
            return match[2]
    return ""
