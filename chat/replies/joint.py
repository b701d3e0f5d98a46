"""Where a continued reply meets what it had: a repeated overlap and a fence opened twice are cut.

Pure. A model that is asked to go on often begins by repeating its last words.
"""

import re

OVERLAP_CHARS = 200
# Fewer repeated characters than this may well be meant: 'ha' after 'ha', a bracket, a bullet.
LEAST_CHARS = 10

_FENCE = re.compile(r"^ {0,3}(`{3,}|~{3,})", re.MULTILINE)
# With a language: without one it is the fence's end.
_REOPENED = re.compile(r"\s*(`{3,}|~{3,}) *\w[^\n`]*\n")


class Joint:
    """Holds the beginning of a continuation back until it is clear what of it is new."""

    def __init__(self, had: str) -> None:
        self._tail = had[-OVERLAP_CHARS:]
        self._is_in_fence = len(_FENCE.findall(had)) % 2 == 1
        self._held: str | None = ""

    def feed(self, text: str) -> str:
        """What may be appended of all that came until now."""
        if self._held is None:
            return text
        self._held += text
        if self._may_grow():
            return ""
        return self.end()

    def end(self) -> str:
        """The rest, when nothing more comes."""
        held, self._held = self._held, None
        if not held:
            return ""
        if self._is_in_fence and (reopened := _REOPENED.match(held)):
            held = held[reopened.end() :]
        return held[self._overlap(held) :]

    def _may_grow(self) -> bool:
        """Whether more text may still turn the beginning into a (longer) repetition."""
        held = self._held or ""
        if self._is_in_fence and "\n" not in held and held.lstrip()[:1] in ("", "`", "~"):
            return len(held) < OVERLAP_CHARS
        if self._is_in_fence and (reopened := _REOPENED.match(held)):
            held = held[reopened.end() :]
        # A repetition ends where the tail ends, so it begins as some suffix of the tail does.
        return len(held) < len(self._tail) and held in self._tail

    def _overlap(self, text: str) -> int:
        for length in range(min(len(text), len(self._tail)), LEAST_CHARS - 1, -1):
            if self._tail.endswith(text[:length]):
                return length
        return 0
