"""The end of a text that is still being written, closed for show.

A reader should not see `**` or `[text](http` turn into something else a moment later. So what is
open is closed, and what can't be told yet is held back. This is a guess for the eye alone: it is
made anew with each delta, and no part of it stays once the text is complete.
"""

import re
from bisect import bisect_left

from chat.rendering.parse import GUARD
from chat.rendering.shape import OPEN

FORMULA_MAX_CHARS = 80
DISPLAY_MAX_CHARS = 2_000
LINK_MAX_CHARS = 500
UNDECIDED_MAX_CHARS = 200
LINK_ADDRESS_MAX_CHARS = 4_000
EMPHASIS_MAX_DEPTH = 50

# A line of nothing but these may yet become a list, a rule, a heading, a table, a fence ...
_UNDECIDED = re.compile(
    r"[-+*=_#`~|:> \t]*(?:\d{1,9}[.)]?[ \t]*)?[-+*=_#`~|:> \t]*"
    r"(?:\[[ xX]?\]?[ \t]*|\$\$?|\\[\[(]?)?"
)
_FENCE_OPENING = re.compile(r"[-+*>\d.) \t]*(?:`{3,}[^`]*|~{3,}.*)")
_FENCE_CLOSING = re.compile(r"[> \t]*(?:`+|~+)[ \t]*")
_DISPLAY_OPENING = re.compile(r"^[ \t>]*(?:(?:[-+*]|\d{1,9}[.)])[ \t]+)*(\$\$|\\\[)(?!.*\1)", re.M)
# Found at its line end alone: the next one may begin within it.
_DISPLAY_END = re.compile(r"\n(?=[ \t>]*(?:\n|```|~~~))")
_BLANK = re.compile(r"[ \t>]*")
_ITEM = re.compile(r"[ \t>]*(?:(?:[-+*]|\d{1,9}[.)])[ \t]+)+(?:\[[ xX]\][ \t]+)?")
_HEADING = re.compile(r"[ \t>]*#{1,6}[ \t]+")
_RULE_OR_FENCE = re.compile(r"[ \t>]*(?:```|~~~|(?:-[ \t]*){3,}$|(?:\*[ \t]*){3,}$|={3,}$)")
_DELIMITER_ROW = re.compile(r"[ \t>]*+\|?[ \t]*+:?-++:?[ \t]*+(?:\|[ \t]*+:?-*+:?[ \t]*+)*+")
_DELIMITER_START = re.compile(r"[ \t>]*+[|:\- \t]*+")
_ROW = re.compile(r"([ \t>]*)\|")
_PIPE = re.compile(r"(?<!\\)\|")
_DEFINITION = re.compile(r" {0,3}\[[^\[\]]+\]:[ \t]*\S*(?:[ \t]+[\"'(].*)?")


def closed(source: str) -> str:
    """The source with its last, open lines closed or held back; no line is added before them."""
    if end := _formula_end(source):
        return source[:end] + closed(source[end:])
    head, line = _last_line(source)
    if line and _is_undecided(line):
        source, is_partial = head, False
    else:
        is_partial = bool(line)
    if formula := _open_display(source):
        return formula
    lines = _paragraph(source)
    if not lines:
        return source
    before = source[: len(source) - len("\n".join(lines)) - (not is_partial)]
    if is_partial and all(map(_DEFINITION.fullmatch, lines)):
        return before + "".join(f"{line}\n" for line in lines[:-1])
    if table := _table(lines, is_partial=is_partial):
        return before + table
    if not is_partial and (_HEADING.match(lines[-1]) or _RULE_OR_FENCE.match(lines[-1])):
        return source
    start = _start_of_text(lines)
    text = "\n".join(lines)
    return before + text[:start] + _closed_inline(text[start:]) + "\n" * (not is_partial)


def _is_undecided(line: str) -> bool:
    if len(line) > UNDECIDED_MAX_CHARS:
        return False
    return bool(_UNDECIDED.fullmatch(line) or _FENCE_OPENING.fullmatch(line))


def _formula_end(source: str) -> int:
    """Where the last display formula ends that is whole, or 0: what is before it is settled."""
    end = at = 0
    breaks = _breaks(source)
    # Looked for anew only behind the last one: thousands of formulas may begin and none end.
    ends: dict[str, int] = {}
    while match := _DISPLAY_OPENING.search(source, at):
        at = match.end()
        closing = "$$" if match[1] == "$$" else "\\]"
        if ends.get(closing, 0) < at:
            found = source.find(closing, at)
            ends[closing] = found if found >= 0 else len(source)
        found = ends[closing]
        if found < len(source) and not _is_broken(breaks, at, found):
            end = at = found + 2
    return end


def _open_display(source: str) -> str | None:
    """The source with the display formula closed that is open at its end, or None."""
    breaks = _breaks(source)
    end = len(source.rstrip("\\$ \t\n"))
    for match in _DISPLAY_OPENING.finditer(source):
        if _is_broken(breaks, match.end(), len(source)):
            continue
        if match.end() >= end:
            return source[: match.start()]
        if end - match.end() <= DISPLAY_MAX_CHARS:
            return source[:end] + OPEN + ("$$" if match[1] == "$$" else "\\]")
    return None


def _breaks(source: str) -> list[int]:
    """Where a display formula that is open would end unfinished."""
    return [match.start() for match in _DISPLAY_END.finditer(source)]


def _is_broken(breaks: list[int], start: int, end: int) -> bool:
    at = bisect_left(breaks, start)
    return at < len(breaks) and breaks[at] < end


def closed_code(source: str) -> str:
    """The same for a source that ends within code: only a line that may end it is held back."""
    head, line = _last_line(source)
    return head if _FENCE_CLOSING.fullmatch(line) else source


def _last_line(source: str) -> tuple[str, str]:
    """The complete lines, and what follows them."""
    end = source.rfind("\n") + 1
    return source[:end], source[end:]


def _paragraph(source: str) -> list[str]:
    """The lines after the last blank one; none if the source ends with a blank line."""
    end = len(source.removesuffix("\n"))
    start = end
    while start > 0:
        at = source.rfind("\n", 0, start) + 1
        if _BLANK.fullmatch(source, at, start):
            break
        first = at
        start = at - 1
        if at == 0:
            return source[:end].split("\n")
    else:
        return []
    return source[first:end].split("\n") if start < end else []


def _start_of_text(lines: list[str]) -> int:
    """Where in the lines the inline text begins that the end belongs to."""
    end = len("\n".join(lines))
    for line in reversed(lines):
        start = end - len(line)
        if match := _ITEM.match(line) or _HEADING.match(line):
            return start + match.end()
        if _RULE_OR_FENCE.match(line):
            return min(end + 1, len("\n".join(lines)))
        end = start - 1
    return 0


def _table(lines: list[str], *, is_partial: bool) -> str | None:
    """A table whose header or last row is open; None if the lines are no table."""
    if len(lines) > 1 and _DELIMITER_ROW.fullmatch(lines[1]) and "|" in lines[0] + lines[1]:
        if len(lines) == 2 and is_partial:
            return _with_delimiter(lines[0])
        if len(lines) > 2 and is_partial:
            return "\n".join([*lines[:-1], _closed_row(lines[-1])])
        return "\n".join(lines) + "\n"
    if _ROW.match(lines[0]) and (
        len(lines) == 1 or (len(lines) == 2 and _DELIMITER_START.fullmatch(lines[1]))
    ):
        return _with_delimiter(_closed_row(lines[0]) if len(lines) == 1 else lines[0])
    return None


def _with_delimiter(header: str) -> str:
    row = _ROW.match(header)
    cells = _PIPE.split(header.strip(" \t>").strip("|"))
    return f"{header}\n{row[1] if row else ''}|{'---|' * len(cells)}\n"


def _closed_row(row: str) -> str:
    ends = [match.end() for match in _PIPE.finditer(row)]
    at = ends[-1] if ends else 0
    return row[:at] + _closed_inline(row[at:])


# --- within a paragraph ---

_TOKEN = re.compile(
    r"\\[\s\S]?|`+|\$\$?|[*]+|_+|~+|!?\[|\]|<(?:(?:https?:|mailto:)[^\s<>]*|h?t?t?p?s?)$"
)
_LINK_END = re.compile(
    r"\((?:<[^<>\n]*>|[^\s()]*(?:\([^\s()]*\)[^\s()]*)*)"
    r"(?:\s+(?:\"[^\"]*\"|'[^']*'|\([^()]*\)))?\s*\)"
)
_LINK_OPEN = re.compile(r"\((?:<[^<>\n]*|[^\s<]*|\S+\s+[\"'(][^\n]*)$")
_LABEL_END = re.compile(r"\[[^\[\]]*\]")
_LABEL_OPEN = re.compile(r"\[[^\[\]]*$")
_DOLLAR_END = re.compile(r"(?<=[^\s\\$])\$(?!\d)")


def _closed_inline(text: str) -> str:
    """Inline text with its open emphasis, code and formulas closed, open links as their text."""
    emphasis: list[tuple[str, int]] = []  # the runs that are open: character, length
    brackets: list[tuple[int, int]] = []  # where each open [ or ![ starts and ends
    dropped: list[tuple[int, int]] = []
    end, closer, at = len(text), "", 0
    while match := _TOKEN.search(text, at):
        mark, at = match[0], match.end()
        kind = mark[0]
        if kind == "`":
            found = re.compile(rf"(?<!`){mark}(?!`)").search(text, at)
            if found:
                at = found.end()
                continue
            end, closer = _open_span(text, match, mark.strip("`"), mark, "`")
            break
        if mark in ("\\(", "\\["):
            closing = "\\)" if mark == "\\(" else "\\]"
            found_at = text.find(closing, at)
            if found_at >= 0:
                at = found_at + 2
                continue
            end, closer = _open_span(text, match, OPEN, closing, "\\")
            break
        if mark == "\\":
            end = match.start()
            break
        if mark == "$$":
            found_at = text.find("$$", at)
            if found_at >= 0:
                at = found_at + 2
                continue
            end, closer = _open_span(text, match, OPEN, "$$", "$")
            break
        if mark == "$":
            found = _DOLLAR_END.search(text, at + 1, at + 1_000)
            rest = text[at:]
            if not rest:
                end = match.start()
            elif rest[0].isspace() or rest[0].isdigit():
                pass
            elif found:
                at = found.end()
            elif len(rest) <= FORMULA_MAX_CHARS and "\n" not in rest:
                end, closer = _open_span(text, match, OPEN, "$", "\\")
                break
        elif kind in "*_~":
            if at == len(text) and (kind, len(mark)) not in emphasis[-1:]:
                end = match.start()
            else:
                _weigh(emphasis, mark, text[: match.start()][-1:], text[at : at + 1])
        elif kind == "]":
            if not brackets:
                continue
            opening = brackets.pop()
            near = at + LINK_ADDRESS_MAX_CHARS
            is_near = len(text) <= near
            if whole := _LINK_END.match(text, at, near) or _LABEL_END.match(text, at, near):
                at = whole.end()
            elif is_near and (
                at == len(text) or _LINK_OPEN.match(text, at) or _LABEL_OPEN.match(text, at)
            ):
                dropped.append(opening)
                end = match.start()
                break
        elif kind == "<":
            dropped.append((match.start(), match.start() + 1))
        elif kind in "![":
            brackets.append(match.span())
    dropped += [span for span in brackets if end - span[1] <= LINK_MAX_CHARS]
    for start, stop in sorted(dropped, reverse=True):
        text = text[:start] + GUARD + text[stop:]
        end += 1 - (stop - start)
    text = text[:end] + closer
    return _with_emphasis_closed(text, emphasis)


def _open_span(
    text: str, opening: re.Match[str], mark: str, closing: str, partial: str
) -> tuple[int, str]:
    """Where an open code span or formula ends for show, and what closes it there."""
    end = len(text.rstrip(partial))
    if not text[opening.end() : end].strip():
        return opening.start(), ""
    return end, mark + closing


def _weigh(emphasis: list[tuple[str, int]], run: str, before: str, after: str) -> None:
    """A run of delimiters closes what it can of the open ones, or is open itself."""
    kind, length = run[0], len(run)
    left = bool(after) and not after.isspace() and (_is_word(after) or not _is_word(before))
    right = bool(before) and not before.isspace() and (_is_word(before) or not _is_word(after))
    if right and (kind != "_" or not _is_word(after)):
        for index in range(len(emphasis) - 1, -1, -1):
            if emphasis[index][0] != kind:
                continue
            opened = emphasis[index][1]
            used = min(opened, length)
            if kind == "~" and opened != length:
                continue
            del emphasis[index:]
            if opened > used:
                emphasis.append((kind, opened - used))
            length -= used
            if not length:
                return
    # 2*3 and snake_case are no emphasis that is about to end.
    is_within_word = _is_word(before) and before.isascii()
    if left and not is_within_word and len(emphasis) < EMPHASIS_MAX_DEPTH:
        emphasis.append((kind, length))


def _is_word(character: str) -> bool:
    return character.isalnum()


def _with_emphasis_closed(text: str, emphasis: list[tuple[str, int]]) -> str:
    ends = "".join(kind * length for kind, length in reversed(emphasis))
    return text.rstrip() + ends if ends else text
