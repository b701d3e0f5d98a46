"""`<think>` blocks inside a reply's text, told apart from the answer while it streams. No I/O.

Some hosts leave a reasoning model's tags in the content. A tag counts wherever it stands but in
code, where it is what the answer is about: in a fence, and in a code span that closes on its line.
White space just inside and just after a block is dropped; nothing else is. A block that never
closes is reasoning to the end; a closing tag that never opened stays as it is.
"""

import re

OPEN, CLOSE = "<think>", "</think>"
BETWEEN_BLOCKS = "\n\n"

# How far past a tag to look for the backticks that make it code, before it is taken for a tag.
_LOOKAHEAD_CHARS = 1000
_HEAD_CHARS = 200
_RUN_CHARS = 100  # a longer run of backticks counts as several
_TOKEN = re.compile(rf"\n|`{{1,{_RUN_CHARS}}}|</?think>")
_RUN_OR_END = re.compile(rf"\n|`{{1,{_RUN_CHARS}}}")
# Lenient at the start of a line: fences inside quotes and list items count too.
_FENCE = re.compile(r"[ \t>]*(?:(?:[-*+]|\d{1,9}[.)])[ \t]+)*(`{3,}|~{3,})([^\n]*)")


class Splitter:
    """Feed it the text in any pieces; what it gives is the same however the text is cut."""

    def __init__(self) -> None:
        self._held = ""  # what may be part of a tag, or a tag that may be code
        self._is_busy = False  # whether even a text without a mark needs a look
        self._in_think = False
        self._skips_space = False
        self._space: list[str] = []  # white space that the end of the block would drop
        self._has_reasoned = False
        self._joint = ""
        self._span = 0  # backticks of the code span that may be open on this line
        self._fence = ""  # the opening run of the fence that we are in
        self._head = ""  # how the line begins
        self._answer: list[str] = []
        self._reasoning: list[str] = []

    def feed(self, text: str) -> tuple[str, str]:
        """(answer, reasoning) that `text` settles."""
        if self._is_busy or "<" in text or "`" in text or "~" in text:
            return self._look(text)
        if "\n" in text:
            if "`" in self._head or "~" in self._head:
                return self._look(text)
            self._span = 0
            self._head = text[text.rfind("\n") + 1 :]
        elif len(self._head) < _HEAD_CHARS:
            self._head += text
        return text, ""

    def _look(self, text: str) -> tuple[str, str]:
        settled = self._scan(self._held + text, is_last=False)
        self._is_busy = bool(self._in_think or self._held or self._skips_space)
        return settled

    def end(self) -> tuple[str, str]:
        """(answer, reasoning) of what was held back."""
        return self._scan(self._held, is_last=True)

    def _scan(self, text: str, *, is_last: bool) -> tuple[str, str]:
        self._held = ""
        sent = line = 0  # up to where text is sent on; where the part of the line in `text` begins
        stop = len(text) if is_last else _undecided_from(text)
        for token in _TOKEN.finditer(text, 0, stop):
            start, end = token.span()
            if token[0] == "\n":
                self._end_line(self._head + text[line:start])
                line = end
            elif token[0][0] == "`":
                self._take_run(end - start)
            elif self._is_mark(token[0]):
                is_code = self._is_code(text, line, token, is_last=is_last)
                if is_code is None:
                    stop = start
                    break
                if not is_code:
                    self._send(text[sent:start])
                    self._switch()
                    sent = line = end
        self._send(text[sent:stop])
        self._held = text[stop:]
        if len(self._head) < _HEAD_CHARS:
            self._head = (self._head + text[line:stop])[:_HEAD_CHARS]
        answer, reasoning = "".join(self._answer), "".join(self._reasoning)
        self._answer.clear()
        self._reasoning.clear()
        return answer, reasoning

    def _is_mark(self, tag: str) -> bool:
        return tag == (CLOSE if self._in_think else OPEN)

    def _is_code(self, text: str, line: int, tag: re.Match[str], *, is_last: bool) -> bool | None:
        """Whether the tag is code; None: what follows will tell."""
        if self._fence:
            return True
        if not self._span:
            return False
        head = self._head + text[line : tag.start()]
        if not self._in_think and _FENCE.match(head[:_HEAD_CHARS]):
            return True
        window_end = tag.end() + _LOOKAHEAD_CHARS
        for run in _RUN_OR_END.finditer(text, tag.end(), min(window_end, len(text))):
            if run[0] == "\n":
                return False
            if run.end() == len(text) and not is_last:
                return None
            if len(run[0]) == self._span:
                return True
        return False if is_last or len(text) >= window_end else None

    def _take_run(self, length: int) -> None:
        if self._fence:
            return
        if not self._span:
            self._span = length
        elif self._span == length:
            self._span = 0

    def _end_line(self, line: str) -> None:
        self._span = 0
        self._head = ""
        if self._in_think:
            return
        fence = _FENCE.match(line[:_HEAD_CHARS])
        if not fence:
            return
        run, rest = fence.groups()
        if not self._fence:
            self._fence = "" if run[0] == "`" and "`" in rest else run
        elif run.startswith(self._fence) and not rest.strip():
            self._fence = ""

    def _switch(self) -> None:
        self._in_think = not self._in_think
        self._skips_space = True
        self._space.clear()
        self._span = 0
        self._head = ""
        self._joint = BETWEEN_BLOCKS if self._has_reasoned else ""

    def _send(self, text: str) -> None:
        if self._skips_space:
            text = text.lstrip()
            self._skips_space = not text
        if not text:
            return
        if not self._in_think:
            self._answer.append(text)
            return
        kept = text.rstrip()
        if kept:
            self._reasoning += [self._joint, *self._space, kept]
            self._space.clear()
            self._joint = ""
            self._has_reasoned = True
        if len(kept) < len(text):
            self._space.append(text[len(kept) :])


def _undecided_from(text: str) -> int:
    """Where an end of `text` begins that may be the beginning of a tag or of a longer run."""
    start = text.rfind("<", max(0, len(text) - len(CLOSE) + 1))
    if start >= 0 and (OPEN.startswith(text[start:]) or CLOSE.startswith(text[start:])):
        return start
    if text.endswith("`"):
        run_start = len(text.rstrip("`"))
        return len(text) - (len(text) - run_start) % _RUN_CHARS
    return len(text)
