"""One reply while it streams: each delta costs what it changes, not what is there.

The text is cut into what is finished, and the open unit at its end: a block, the last item of a
list, the last row of a table, or what has not been shown yet of a code block. Only the open unit
is rendered anew. Once a line begins another block, nothing before it can change but by a link
definition that comes later, and `finish` looks after those.
"""

import re
from collections.abc import Sequence
from html import escape, unescape
from typing import Literal, NamedTuple

from chat.rendering import code
from chat.rendering.blocks import Block, end_to_end, line_starts, pieces_of, printable, render
from chat.rendering.closing import closed, closed_code
from chat.rendering.parse import Piece, plain_ends

# What is longer in one piece goes on as plain text until the end, so that no delta costs more.
UNIT_MAX_CHARS = 16_000
DEFINITIONS_MAX_CHARS = 8_000


class Patch(NamedTuple):
    """What changed in a container that holds one element for each block; idempotent.

    block: block `index` is `html`, replaced or added.
    text: `html` follows in the <code> of block `index`, which holds `at` UTF-16 units before it.
    item: `html` is child `at` of the list, or row `at` of the table's body, in block `index`.
    words: the last text of block `index` ends in `html`, which begins in it at that UTF-16 unit.
    trim: only the blocks before `index` exist.
    """

    kind: Literal["block", "text", "item", "words", "trim"]
    index: int  # type: ignore[assignment]  # hides tuple.index
    at: int
    html: str


class _Shown:
    """A block as its readers have it; `items` may grow one by one."""

    def __init__(self, start: int, head: str, items: Sequence[str] = (), tail: str = "") -> None:
        self.start = start
        self.head = head
        self.items = list(items)
        self.tail = tail
        self.changed_at = 0  # the length of the reply when it last did

    @property
    def html(self) -> str:
        return self.head + "".join(self.items) + self.tail


class _Items(NamedTuple):
    """A list or a table that grows by items: the last one is open."""

    tag: str
    is_loose: bool
    context: str  # the source that makes the open unit an item of the same kind
    skipped: int  # how many items the context itself makes
    first: int  # index of the item that the open unit starts with


class _Run(NamedTuple):
    """A code block or a plain one that grows by text."""

    end: re.Pattern[str]  # what ends it
    held: re.Pattern[str]  # what may be the beginning of that
    indent: re.Pattern[str] | None  # what each line loses


class Growing:
    """The blocks of a reply and what changes in them, from the first delta to the end."""

    def __init__(self) -> None:
        self.length = 0
        self._done: list[str] = []  # source before the open block
        self._block: list[str] = []  # source of the open block before its open unit
        self._block_chars = 0
        self._tail = ""  # source of the open unit
        self._shown: list[_Shown] = []
        self._open = 0  # index of the open block
        self._mode: _Items | _Run | None = None
        self._units = 0  # UTF-16 units that a run shows
        self._is_line_start = True  # whether a run's tail starts a line
        self._definitions = ""
        self._word = (
            ""  # the last one, where it is known that the open unit shows it last, as it is
        )

    @property
    def blocks(self) -> list[Block]:
        starts = [shown.start for shown in self._shown]
        return end_to_end(starts, self.length, [shown.html for shown in self._shown])

    @property
    def open_length(self) -> int:
        """How many characters `grow` may have to render anew: all of an open block."""
        return self._block_chars + len(self._tail)

    def grow(self, text: str) -> list[Patch]:
        """What changed since the last call, now that `text` has been added."""
        if not text:
            return []
        if (patches := self.take(text)) is not None:
            return patches
        self._add(text)
        if isinstance(self._mode, _Run):
            patches = self._grow_run(self._mode)
        elif isinstance(self._mode, _Items):
            patches = self._grow_items(self._mode)
        else:
            patches = self._grow_block()
        return self._noted(patches, self.length)

    def take(self, text: str) -> list[Patch] | None:
        """As `grow`, of text that needs no parser: plain words, more of an open code block.

        None for any other, which then has not been added.
        """
        if isinstance(self._mode, _Run):
            if self._mode.end.search(self._tail + printable(text), self._scanned_from):
                return None
            self._add(text)
            return self._noted(self._grow_run(self._mode), self.length)
        patches = self._extended(printable(text))
        if patches is None:
            return None
        self._add(text)
        return self._noted([*patches, *self._bounded()], self.length)

    def _add(self, text: str) -> None:
        self.length += len(text)
        self._tail += printable(text)

    def finish(self, *, is_cut: bool = False) -> list[Patch]:
        """The blocks whose final HTML differs from what was last shown; nothing grows after it."""
        text = "".join([*self._done, *self._block, self._tail])
        blocks = render(text, is_cut=is_cut)
        patches = self._show([(block.start, block.html) for block in blocks], 0)
        self._done, self._block, self._tail, self._mode = [text], [], "", None
        self._block_chars = 0
        # Nobody has these yet, whatever length of the text they have.
        return self._noted(patches, self.length + 1)

    def since(self, length: int) -> list[Patch]:
        """For a reader who has the first `length` characters: whole blocks from there on."""
        patches = [
            Patch("block", index, 0, block.html)
            for index, (block, shown) in enumerate(zip(self.blocks, self._shown, strict=True))
            if block.end >= length or shown.changed_at > length
        ]
        return [*patches, Patch("trim", len(self._shown), 0, "")]

    def _noted(self, patches: list[Patch], length: int) -> list[Patch]:
        """The patches, with a note in each block of when it last changed."""
        for patch in patches:
            if patch.index < len(self._shown):
                self._shown[patch.index].changed_at = length
        return patches

    def _extended(self, text: str) -> list[Patch] | None:
        """Shows plain words behind the last one of the open unit, as most deltas are.

        None where only rendering can tell what they are.
        """
        word = self._word + text
        if not (self._word and _WORDS.fullmatch(word)) or _MAY_LINK.search(word):
            return None
        shown = self._shown[self._open]
        is_item = isinstance(self._mode, _Items)
        html = shown.items[-1] if is_item else shown.head
        place = html.rfind(self._word)
        end = place + len(self._word)
        if place < 0 or not _ENDS.fullmatch(html, end):
            return None
        known, self._word = self._word, word.rpartition(" ")[2]
        words = word.rstrip(" ")
        if words == known:
            return []
        longer = html[:place] + words + html[end:]
        if is_item:
            shown.items[-1] = longer
        else:
            shown.head = longer
        # Nobody needs the whole paragraph again for a word.
        before = unescape(html[html.rfind(">", 0, place) + 1 : place])
        return [Patch("words", self._open, _units(before), words)]

    def _grow_block(self) -> list[Patch]:
        """Renders the open block anew, and whatever has begun after it."""
        return self._place(self._pieces(""), self._open)

    def _grow_items(self, items: _Items) -> list[Patch]:
        """Renders the open item anew, and whatever has begun after it."""
        pieces = self._pieces(items.context)
        shown = self._shown[self._open]
        children = _split(pieces[0])[1][items.skipped :] if pieces else []
        if (
            not children
            or (pieces[0].tag, pieces[0].is_loose) != (items.tag, items.is_loose)
            or items.first + len(children) < len(shown.items)
        ):
            # It became loose, or something else altogether: once more from its start.
            self._reopen()
            return self._grow_block()
        patches = []
        for at, html in enumerate(children, items.first):
            if shown.items[at : at + 1] != [html]:
                shown.items[at : at + 1] = [html]
                patches.append(Patch("item", self._open, at, html))
        if len(pieces) > 1:
            return patches + self._place(pieces[1:], self._open + 1)
        patches += self._show([], self._open + 1)
        if len(children) > 1:
            self._shift(line_starts(self._tail, [pieces[0].item_lines[-1]])[0])
            self._mode = items._replace(first=items.first + len(children) - 1)
        return patches + self._bounded()

    def _grow_run(self, run: _Run) -> list[Patch]:
        """Appends the new text, but for what may be the end."""
        if end := run.end.search(self._tail, self._scanned_from):
            if run.end is not _PLAIN.end:
                self._reopen()
                return self._grow_block()
            patches = self._append(run, end.start())
            self._done_up_to(end.end() - end.start())
            self._open = len(self._shown)
            self._mode = None
            return patches + self._grow_block()
        held = run.held.search(self._tail, self._scanned_from)
        return self._append(run, held.start() if held else len(self._tail))

    @property
    def _scanned_from(self) -> int:
        """In the tail of a run: where it begins amid a line, ^ is not to match."""
        return 0 if self._is_line_start else 1

    def _append(self, run: _Run, size: int) -> list[Patch]:
        """Shows the first characters of the tail at the end of the open block."""
        text = self._tail[:size]
        if not text:
            return []
        shown_text = text
        if run.indent:
            # A guard keeps ^ from matching within a line.
            shown_text = run.indent.sub("", text if self._is_line_start else "\0" + text)
            shown_text = shown_text.removeprefix("\0")
        self._is_line_start = text.endswith("\n")
        patch = self._append_shown(escape(shown_text, quote=False), _units(shown_text))
        self._shift(size)
        return [patch]

    def _append_shown(self, html: str, units: int) -> Patch:
        if self._open == len(self._shown):
            head, tail = plain_ends()
            self._shown.append(_Shown(self.length - len(self._tail), head, [html], tail))
            self._units = units
            return Patch("block", self._open, 0, head + html + tail)
        self._shown[self._open].items.append(html)
        patch = Patch("text", self._open, self._units, html)
        self._units += units
        return patch

    def _pieces(self, context: str) -> list[Piece]:
        """The blocks of a context and the open unit; lines count from the start of the unit."""
        context = self._definitions + context
        raw = context + self._tail
        source = closed(raw)
        pieces = pieces_of(source, is_open=not _CLOSES_CODE.search(raw))
        if pieces and source != raw and _ENDS_IN_CODE.search(pieces[-1].html):
            pieces = pieces_of(closed_code(raw), is_open=True)
        self._word = _last_word(raw) if source == raw and pieces else ""
        above = context.count("\n")
        return [
            piece._replace(
                line=max(0, piece.line - above),
                item_lines=[max(0, line - above) for line in piece.item_lines],
            )
            for piece in pieces
        ]

    def _place(self, pieces: list[Piece], base: int) -> list[Patch]:
        """Shows the pieces from block `base` on; the last one is the open block from now on."""
        starts = line_starts(self._tail, [piece.line for piece in pieces])
        before = self.length - len(self._tail)
        patches = self._show(
            [(before + start, piece.html) for start, piece in zip(starts, pieces, strict=True)],
            base,
        )
        if not pieces:
            # Blank lines, or link definitions: there may be any number of them.
            if self._tail.isspace() or len(self._tail) > UNIT_MAX_CHARS:
                self._done_up_to(self._tail.rfind("\n") + 1)
            return patches
        self._done_up_to(starts[-1])
        self._open = base + len(pieces) - 1
        return patches + self._choose_mode(pieces[-1])

    def _choose_mode(self, piece: Piece) -> list[Patch]:
        """How the open block, which the tail now starts with, goes on growing."""
        self._mode = None
        if piece.tag == "pre" and (fence := _FENCE.match(self._tail)):
            return self._open_fence(fence, piece)
        if piece.tag in ("ul", "ol", "table"):
            self._open_items(piece)
        return self._bounded()

    def _open_fence(self, fence: re.Match[str], piece: Piece) -> list[Patch]:
        indent, marks, info = fence.groups()
        mark = re.escape(marks[0])
        run = _Run(
            re.compile(rf"^ {{0,3}}{mark}{{{len(marks)},}}[ \t]*\n", re.M),
            re.compile(rf"^ {{0,3}}{mark}*[ \t]*\Z", re.M),
            re.compile(rf"^ {{1,{len(indent)}}}", re.M) if indent else None,
        )
        if run.end.search(self._tail, fence.end()):
            return []
        head, tail = code.frame_ends(info)
        self._shown[self._open] = _Shown(self._shown[self._open].start, head, [], tail)
        self._mode, self._units, self._is_line_start = run, 0, True
        self._shift(fence.end())
        self._grow_run(run)
        html = self._shown[self._open].html
        return [] if html == piece.html else [Patch("block", self._open, 0, html)]

    def _open_items(self, piece: Piece) -> None:
        head, children, tail = _split(piece)
        lines = [line - piece.line for line in piece.item_lines]
        if not children or len(children) != len(lines):
            return
        starts = line_starts(self._tail, lines)
        if piece.tag == "table":
            context, skipped = self._tail[: starts[0]], 0
        else:
            marker = _MARKER.match(self._tail, starts[-1])
            if not marker:
                return
            context, skipped = marker[1] + " x\n" + "\n" * piece.is_loose, 1
        shown = self._shown[self._open]
        self._shown[self._open] = _Shown(shown.start, head, children, tail)
        self._mode = _Items(piece.tag, piece.is_loose, context, skipped, len(children) - 1)
        self._shift(starts[-1])

    def _bounded(self) -> list[Patch]:
        """Ends an open unit that is too long to be rendered with each delta."""
        if len(self._tail) > UNIT_MAX_CHARS:
            self._done_up_to(len(self._tail))
            self._open = len(self._shown)
            self._mode, self._is_line_start = _PLAIN, False
        return []

    def _show(self, blocks: list[tuple[int, str]], base: int) -> list[Patch]:
        """Makes these (start, HTML) the blocks from `base` on."""
        patches = []
        for index, (start, html) in enumerate(blocks, base):
            is_new = index >= len(self._shown)
            if is_new or self._shown[index].html != html:
                self._shown[index : index + 1] = [_Shown(start if index else 0, html)]
                patches.append(Patch("block", index, 0, html))
            else:
                self._shown[index].start = start if index else 0
        end = base + len(blocks)
        if end < len(self._shown):
            del self._shown[end:]
            patches.append(Patch("trim", end, 0, ""))
        return patches

    def _shift(self, size: int) -> None:
        """The first characters of the tail still belong to the open block, but not to its end."""
        self._block.append(self._tail[:size])
        self._block_chars += size
        self._tail = self._tail[size:]

    def _reopen(self) -> None:
        """All of the open block is open again."""
        self._tail = "".join([*self._block, self._tail])
        self._block, self._block_chars, self._mode = [], 0, None

    def _done_up_to(self, size: int) -> None:
        """What lies before this place in the tail is finished."""
        text = "".join([*self._block, self._tail[:size]])
        self._tail = self._tail[size:]
        self._block, self._block_chars = [], 0
        self._done.append(text)
        if "]:" in text and len(self._definitions) < DEFINITIONS_MAX_CHARS:
            self._definitions += "".join(f"{d}\n\n" for d in _DEFINITION.findall(text))


# What neither Markdown nor HTML makes anything of within a line; a link needs more to be told.
_WORDS = re.compile(
    r"[^\x00-\x1f\x7f-\xa0\u1680\u2000-\u200f\u2028-\u202f\u205f\u3000"
    r"\\`*_\[\]<>&$~|@^#]+"
)
_MAY_LINK = re.compile(r":/|www\.", re.I)
_ENDS = re.compile(r"\s*(?:</(?:p|li|ul|ol|blockquote|h[2-6])>\s*)+")
_CLOSES_CODE = re.compile(r"^[ \t>]*(?:`{3,}|~{3,})[ \t]*\n[ \t>\n]*\Z", re.M)
_ENDS_IN_CODE = re.compile(r"</code></pre></div>(?:</\w+>)*\Z")
_FENCE = re.compile(r"( {0,3})(`{3,}+|~{3,}+)([^\n]*+)\n")
_MARKER = re.compile(r" {0,3}([-+*]|\d{1,9}[.)])(?=[ \t\n])")
_DEFINITION = re.compile(r"^ {0,3}\[[^\[\]\n]+\]:[ \t]*\S[^\n]*$", re.M)
_LI = re.compile(r"<(/?)li\b")

# Plain text ends where a blank line is followed by what can only be a paragraph.
_PLAIN = _Run(
    re.compile(r"^[ \t]*\n(?=[^\s\-+*>\d#`~|])", re.M),
    re.compile(r"(?<![ \t\n])[ \t]*\n[ \t\n]*\Z"),
    None,
)


def _split(piece: Piece) -> tuple[str, list[str], str]:
    """The HTML of a list or table before its items (or rows), each of them, and after them."""
    html = piece.html
    if piece.tag == "table":
        head, mark, rest = html.partition("<tbody>")
        if not mark:
            return html, [], ""
        body, mark, tail = rest.partition("</tbody>")
        return head + "<tbody>", [f"<tr>{row}" for row in body.split("<tr>")[1:]], mark + tail
    starts, end, depth = [], 0, 0
    for match in _LI.finditer(html):
        if match[1]:
            depth -= 1
            end = match.end() + 1
        else:
            if depth == 0:
                starts.append(match.start())
            depth += 1
    if not starts:
        return html, [], ""
    ends = [*starts[1:], end]
    return html[: starts[0]], [html[a:b] for a, b in zip(starts, ends, strict=True)], html[end:]


def _last_word(source: str) -> str:
    """What the source ends in, if that is a plain word that can't be the beginning of a link."""
    word = source[max(source.rfind(" "), source.rfind("\n")) + 1 :]
    return word if _WORDS.fullmatch(word) and not _MAY_LINK.search(word) else ""


def _units(text: str) -> int:
    return len(text.encode("utf-16-le")) // 2
