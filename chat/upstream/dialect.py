"""One event -> what it says: text, reasoning, usage, a finish word, an error. No I/O.

Every gateway speaks its own dialect of the chat-completion chunk; what they differ in is told
here once. A plain chunk (text and nothing odd) takes a typed, fast way through; every other one
is read as plain dicts, tolerantly. Both give the same.
"""

import re
from collections.abc import Iterable, Iterator
from typing import Any

from chat.rendering.clean import clean
from chat.upstream import chunk, refusal, usage
from chat.upstream.chunk import decode_plain
from chat.upstream.errors import GatewayError
from chat.upstream.items import (
    Delta,
    End,
    Eof,
    Failure,
    Finish,
    Image,
    Item,
    Link,
    ToolCalls,
)
from chat.upstream.sse import Event
from chat.upstream.text import Text
from chat.upstream.usage import Usage

__all__ = [
    "Delta",
    "End",
    "Failure",
    "Finish",
    "Image",
    "Item",
    "Link",
    "Reader",
    "ToolCalls",
    "Usage",
]

MAX_REPLY_BYTES = 2_000_000
MAX_IDLE_EVENTS = 100_000
_MAX_LINKS = 200
_MAX_IMAGES = 16
_DONE = re.compile(rb'"?\[?done\]?"?', re.IGNORECASE)


class Reader:
    """Feed it events until it `is_over` or the body ends; then `end` it and ask its `outcome`."""

    def __init__(self, *, max_reply_bytes: int = MAX_REPLY_BYTES, secret: str = "") -> None:
        self.is_over = False  # [DONE], or the end of a whole JSON reply
        self.finish_reason: str | None = None
        self.error: GatewayError | None = None
        self._done = False
        self._loss: GatewayError | None = None
        self._end: End | None = None
        self._has_tool_calls = False
        self._text = Text(max_reply_bytes, self._fail_too_long)
        self._idle_events = 0
        self._secret = secret
        self._usage: Usage | None = None
        self._has_plain_usage = False
        self._links: set[str] = set()
        self._images = 0

    def feed(self, event: Event) -> list[Item]:
        """What the event says, in order; nothing after [DONE], no text after an error."""
        return self.feed_all((event,))

    def feed_all(self, events: Iterable[Event]) -> list[Item]:
        """What the events say; the text of plain chunks in a row is one Delta."""
        items: list[Item] = []
        text = reasoning = ""
        for event in events:
            if self.is_over:
                break
            try:
                delta = decode_plain(event.data).choices[0].delta
                content, thought = delta.content, delta.reasoning_content or delta.reasoning
                is_odd = delta.reasoning_details and not thought
            except (ValueError, RecursionError):
                is_odd = True
            if is_odd or event.name or self._text.has_half:
                if text or reasoning:
                    items += self._text.add(text, reasoning)
                    text = reasoning = ""
                odd_items = list(self._read(event))
                self._note_progress(odd_items)
                items += odd_items
                continue
            if content:
                text += content
            if thought:
                reasoning += thought
            if content or thought:
                self._idle_events = 0
            else:
                self._note_progress(None)
        if items:
            return items + self._text.add(text, reasoning)
        return self._text.add(text, reasoning)

    def feed_document(self, document: object) -> list[Item]:
        """What a whole JSON body says that came where a stream was asked for."""
        items = list(self._read_document(document, is_whole_reply=True))
        if not self.error and not (isinstance(document, dict) and document.get("choices")):
            if chunk.has_words(document):
                self._fail_with(document)
            else:
                self.fail(GatewayError("protocol", reason="json"))
        self._finish_stream()  # the closing brace is the finish sign of this form
        return items

    def fail(self, error: GatewayError) -> None:
        """Note what is wrong with the stream; the first failure counts."""
        self.error = self.error or error
        self._text.close()

    def lose(self, error: GatewayError) -> None:
        """Note that no more comes: a dropped connection, a deadline. A finished reply is whole."""
        self._loss = error

    def end(self) -> list[Item]:
        """What was held back, then the Failure if there is one; after it nothing comes."""
        items = self._text.end()
        self._end = self._judge()
        return [*items, Failure(self._end.error)] if self._end.error else items

    def outcome(self) -> End:
        """How the stream ended, judged by what came; call it after `end`."""
        return self._end or self._judge()

    def _judge(self) -> End:
        eof: Eof
        error, text = self.error, self._text
        if error:
            eof = "error"
        elif self._done:
            eof = "clean"
        elif self.finish_reason:
            eof = "finish-only"
        else:
            eof = "cut"
            error = self._loss or GatewayError("connection", reason="cut")
        if not error and not text.has_text and not text.has_reasoning:
            error = self._nothing()
        return End(eof, self.finish_reason, self._done, error, text.has_text, text.has_reasoning)

    def _nothing(self) -> GatewayError:
        if self._has_tool_calls:
            return GatewayError("tool_calls")
        reason = self.finish_reason if self.finish_reason in ("length", "content_filter") else None
        return GatewayError("empty", reason=reason)

    def _read(self, event: Event) -> Iterator[Item]:
        payload = event.data.strip()
        if _DONE.fullmatch(payload):
            self._finish_stream()
            return
        try:
            document = chunk.decode(payload)
        except ValueError:
            if event.name == "error":
                self._fail_with(payload.decode("utf-8", "replace"))
            elif event.is_whole and payload.startswith((b"{", b"[{")):
                self.fail(GatewayError("protocol", reason="json"))
            # Anything else is a keep-alive that is no comment, or a chunk that the end cut.
            return
        if event.name == "error" and not chunk.has_error(document):
            self._fail_with(document)
            return
        for each in document if isinstance(document, list) else [document]:
            yield from self._read_document(each)

    def _read_document(self, document: object, *, is_whole_reply: bool = False) -> Iterator[Item]:
        if not isinstance(document, dict):
            return
        choices = chunk.first_choices(document)
        is_whole_reply = is_whole_reply or document.get("object") == "chat.completion"
        for choice in choices:
            yield from self._read_choice(choice, is_whole_reply=is_whole_reply)
        yield from self._read_usage(document)
        yield from self._read_links(document.get("citations"))
        # The error object tells more than the finish word `error` beside it.
        if chunk.has_error(document):
            self._fail_with(document)
        for choice in choices:
            if choice.get("error"):
                self._fail_with(choice)
        if any(choice.get("finish_reason") == "error" for choice in choices):
            self.fail(GatewayError("server"))

    def _read_choice(self, choice: dict[str, Any], *, is_whole_reply: bool) -> Iterator[Item]:
        delta = choice.get("delta")
        if is_whole_reply and "delta" not in choice and not self._text.has_text:
            delta = choice.get("message")
        if isinstance(delta, dict):
            yield from self._read_delta(delta)
        reason = choice.get("finish_reason")
        if isinstance(reason, str) and reason:
            yield from self._finish(reason)

    def _read_delta(self, delta: dict[str, Any]) -> Iterator[Item]:
        text, reasoning = chunk.text_and_reasoning(delta)
        if text or reasoning:
            yield from self._text.add_halves(text, reasoning)
        if delta.get("tool_calls") or delta.get("function_call"):
            self._idle_events = 0
            if not self._has_tool_calls:
                self._has_tool_calls = True
                yield ToolCalls()
        for parts in (delta.get("images"), delta.get("content")):
            for url in chunk.image_urls(parts):
                if self._images < _MAX_IMAGES:
                    self._images += 1
                    yield Image(url)
        yield from self._read_links(delta.get("annotations"))

    def _read_links(self, entries: object) -> Iterator[Item]:
        for link in chunk.links(entries):
            if link.url not in self._links and len(self._links) < _MAX_LINKS:
                self._links.add(link.url)
                yield link

    def _read_usage(self, document: dict[str, Any]) -> Iterator[Item]:
        report = usage.from_report(document.get("usage"))
        if report:
            self._has_plain_usage = True
        elif not self._has_plain_usage and isinstance(groq := document.get("x_groq"), dict):
            report = usage.from_report(groq.get("usage"))
        if report and report != self._usage:
            self._usage = report
            yield report

    def _note_progress(self, said: object) -> None:
        if said:
            self._idle_events = 0
        else:
            self._idle_events += 1
            if self._idle_events >= MAX_IDLE_EVENTS:
                self.fail(GatewayError("protocol", reason="no_progress"))

    def _fail_too_long(self) -> None:
        self.fail(GatewayError("protocol", reason="too_long"))

    def _finish(self, reason: str) -> list[Item]:
        reason = clean(reason)[:64]
        if reason == self.finish_reason:
            return []
        self.finish_reason = reason
        return [Finish(reason)]

    def _finish_stream(self) -> None:
        self.is_over = True
        self._done = not self.error

    def _fail_with(self, document: object) -> None:
        self.fail(refusal.from_document(document, None, secret=self._secret))
