"""comrak's HTML, tag by tag, into ours: what a page shows and nothing else.

No white space between blocks, so that a list or table that grew item by item is the same in the
page as one that came whole.
"""

import re
from collections.abc import Iterator
from html import escape, unescape

from chat.rendering import code, links, maths

DEPTH_MAX = 100
COLOURED_MAX_CHARS = 100_000
# What it costs to begin a block, in characters.
COLOURED_BLOCK_CHARS = 200

# A noncharacter that ends a formula which is not closed yet.
OPEN = "\ufdd1"

_TAG = re.compile(r"<(/?)([a-z0-9]+)([^>]*)>([^<]*)")
_ATTRIBUTE = re.compile(r'([a-z-]+)="([^"]*)"')
# 'from $5 a month to 10$' is no formula: a number, then words, and nothing that maths has.
_MONEY = re.compile(r"\d[\d.,]*\s+[^\\^_{}=+*/]*[^\W\d_]{2}[^\\^_{}=+*/]*\Z")
_CODE_TO_THE_END = re.compile(r"<code[^>]*>[^<]*</code></pre>\s*(?:</\w+>\s*)*")

# What stands for a tag of comrak's, where that does not depend on attributes. The page has its own
# h1, so headings are one level lower.
_OPENING = {
    **{
        tag: f"<{tag}>" for tag in ("em", "strong", "del", "ul", "thead", "tbody", "tr", "br", "hr")
    },
    **{tag: f'<{tag} dir="auto">' for tag in ("p", "li", "blockquote")},
    **{f"h{level}": f'<h{min(level + 1, 6)} dir="auto">' for level in range(1, 7)},
    "table": '<div class="table"><table>',
}
_CLOSING = {
    **{tag: f"</{tag}>" for tag in ("em", "strong", "del", "ul", "ol", "thead", "tbody", "tr")},
    **{tag: f"</{tag}>" for tag in ("p", "li", "blockquote", "td", "th", "code")},
    **{f"h{level}": f"</h{min(level + 1, 6)}>" for level in range(1, 7)},
    "table": "</table></div>",
}
_BLOCKS = {
    *("p", "ul", "ol", "li", "blockquote", "pre", "hr", "h1", "h2", "h3", "h4", "h5", "h6"),
    *("table", "thead", "tbody", "tr", "td", "th"),
}


class Shape:
    """One top-level block."""

    def __init__(self, line: int, tag: str) -> None:
        self.line = line
        self.tag = tag
        self.item_lines: list[int] = []
        self.is_loose = False
        self.is_too_deep = False
        self._out: list[str] = []
        self._link: tuple[int, str] | None = None  # where the open link starts, and its address

    @property
    def html(self) -> str:
        return "".join(self._out)

    def note(self, path: list[str], line: int) -> None:
        """Takes in which element starts: its place among the open ones, and its line."""
        depth, tag = len(path), path[-1]
        if (depth == 2 and tag == "li") or (depth == 3 and tag == "tr" and path[1] == "tbody"):
            self.item_lines.append(line)
        elif depth == 3 and tag == "p" and path[1] == "li":
            self.is_loose = True
        elif depth > DEPTH_MAX:
            self.is_too_deep = True

    def open(self, tag: str, attributes: str, text: str) -> None:
        """Writes an opening tag and the text behind it."""
        if tag in _BLOCKS:
            self._end_line()
            text = "" if text.isspace() else text
        if tag in _OPENING:
            self._out.append(_OPENING[tag])
        elif tag == "code":
            self._out.append("<code>")
        elif tag in ("td", "th"):
            align = _attribute(attributes, "align")
            mark = f' class="align-{align}"' if align in ("left", "right", "center") else ""
            self._out.append(f'<{tag} dir="auto"{mark}>')
        elif tag == "ol":
            start = _attribute(attributes, "start")
            self._out.append(f'<ol start="{start}">' if start.isdecimal() else "<ol>")
        elif tag == "input":
            checked = ' checked=""' if "checked" in attributes else ""
            self._out.append(f'<input type="checkbox"{checked} disabled="">')
        elif tag == "span":
            text = _formula(attributes, unescape(text))
        elif tag == "a":
            self._link = (len(self._out), unescape(_attribute(attributes, "href")))
        elif tag == "img":
            self._out.append(self._image(attributes))
        self._out.append(text)

    def close(self, tag: str, text: str) -> None:
        """Writes a closing tag and the text behind it."""
        if tag == "a" and self._link:
            at, address = self._link
            self._out[at:] = [links.link(address, "".join(self._out[at:]))]
            self._link = None
        elif tag in _CLOSING:
            self._out.append(_CLOSING[tag])
        if not (tag in _BLOCKS and text.isspace()):
            self._out.append(text)

    def code_block(self, attributes: str, text: str, *, colour: bool) -> None:
        self._end_line()
        info = unescape(_attribute(attributes, "class").removeprefix("language-"))
        self._out.append(code.frame(info, unescape(text), colour=colour))

    def _image(self, attributes: str) -> str:
        address = unescape(_attribute(attributes, "src"))
        words = unescape(_attribute(attributes, "alt"))
        return escape(words, quote=False) if self._link else links.image(address, words)

    def _end_line(self) -> None:
        if self._out and self._out[-1].endswith("\n"):
            self._out[-1] = self._out[-1].rstrip("\n")


def shaped(html: str, *, is_open: bool = False) -> Iterator[Shape]:
    """The top-level blocks of comrak's output; `is_open`: code that ends it is not coloured."""
    open_code_at = _code_to_the_end(html) if is_open else -1
    coloured = 0
    path: list[str] = []
    shape = Shape(0, "")
    for match in _TAG.finditer(html):
        end, tag, attributes, text = match.groups()
        if end:
            is_code_block = tag in ("pre", "code") and "pre" in path
            path.pop()
            if not is_code_block and not shape.is_too_deep:
                shape.close(tag, text)
        else:
            line = int(_attribute(attributes, "data-sourcepos").partition(":")[0] or 1) - 1
            if not path:
                shape = Shape(line, tag)
            path.append(tag)
            shape.note(path, line)
            if shape.is_too_deep or tag == "pre":
                pass
            elif tag == "code" and path[-2:-1] == ["pre"]:
                coloured += len(text) + COLOURED_BLOCK_CHARS
                colour = match.start() != open_code_at and coloured <= COLOURED_MAX_CHARS
                shape.code_block(attributes, text, colour=colour)
            else:
                shape.open(tag, attributes, text)
            if attributes.endswith("/"):
                path.pop()
        if not path:
            yield shape


def _formula(attributes: str, source: str) -> str:
    if source.endswith(OPEN):
        return maths.as_code(source.removesuffix(OPEN))
    display = _attribute(attributes, "data-math-style") == "display"
    if not display and _MONEY.match(source):
        return escape(f"${source}$", quote=False)
    return maths.typeset(source.strip(), display=display)


def _code_to_the_end(html: str) -> int:
    """Where the <code> starts that nothing but closing tags follows, or -1."""
    at = html.rfind("<code")
    return at if at >= 0 and _CODE_TO_THE_END.fullmatch(html, at) else -1


def _attribute(attributes: str, name: str) -> str:
    for match in _ATTRIBUTE.finditer(attributes):
        if match[1] == name:
            return match[2]
    return ""
