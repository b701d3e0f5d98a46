"""A reply's text while it comes: whole characters, cleaned, `<think>` told apart, bounded. No I/O."""

import re
from collections.abc import Callable

from chat.rendering.clean import clean
from chat.upstream.items import Delta, Item
from chat.upstream.think import Splitter

_PAIR = re.compile("[\ud800-\udbff][\udc00-\udfff]")


class Text:
    """Add to it what the chunks say; what it gives is the same however that was cut.

    Above `max_bytes` of UTF-8 it gives what fits and calls `overflow`. After `close` it takes no
    more: a gap may lie before what comes, and what is kept is a prefix of what was sent.
    """

    def __init__(self, max_bytes: int, overflow: Callable[[], None]) -> None:
        self.has_text = False
        self.has_reasoning = False
        self.has_half = False  # of a surrogate pair that two deltas share
        self._halves = {"text": "", "reasoning": ""}
        self._is_open = True
        self._bytes_left = max_bytes
        self._overflow = overflow
        self._think = Splitter()

    def close(self) -> None:
        self._is_open = False

    def add(self, text: str, reasoning: str) -> list[Item]:
        """What may be shown of it."""
        if not self._is_open:
            return []
        if reasoning or not text.isprintable():
            text, reasoning = clean(text), clean(reasoning)
        size = len(text.encode())
        if reasoning:
            size += len(reasoning.encode())
        if size > self._bytes_left:
            text, reasoning = self._fit(text, reasoning)
        self._bytes_left -= size
        text, thought = self._think.feed(text)
        if reasoning or thought or not text:
            return self._items(text, reasoning + thought)
        self.has_text = True
        return [Delta(text)]

    def add_halves(self, text: str, reasoning: str) -> list[Item]:
        """As `add`, of text that may begin or end amid a surrogate pair."""
        text, reasoning = self._join("text", text), self._join("reasoning", reasoning)
        self.has_half = any(self._halves.values())
        return self.add(text, reasoning)

    def end(self) -> list[Item]:
        """What was held back."""
        text, reasoning = (clean(half) for half in self._halves.values())
        self._halves = {"text": "", "reasoning": ""}
        answer, thought = self._think.feed(text)
        more_answer, more_thought = self._think.end()
        return self._items(answer + more_answer, reasoning + thought + more_thought)

    def _items(self, text: str, reasoning: str) -> list[Item]:
        self.has_text = self.has_text or bool(text)
        self.has_reasoning = self.has_reasoning or bool(reasoning)
        return [Delta(text, reasoning)] if text or reasoning else []

    def _fit(self, text: str, reasoning: str) -> tuple[str, str]:
        self._overflow()
        reasoning = _cut(reasoning, self._bytes_left)
        return _cut(text, self._bytes_left - len(reasoning.encode())), reasoning

    def _join(self, channel: str, text: str) -> str:
        """The text with surrogate pairs joined, also one that two deltas share."""
        if not text:
            return text
        text = self._halves[channel] + text
        self._halves[channel] = ""
        if "\ud800" <= text[-1] <= "\udbff":
            self._halves[channel] = text[-1]
            text = text[:-1]
        return _PAIR.sub(_joined, text)


def _cut(text: str, size: int) -> str:
    """As much of the text as fits into `size` bytes of UTF-8."""
    return text.encode()[:size].decode("utf-8", "ignore")


def _joined(pair: re.Match[str]) -> str:
    return pair[0].encode("utf-16-le", "surrogatepass").decode("utf-16-le")
