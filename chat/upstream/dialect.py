"""One event -> what it says: text, reasoning, usage, a finish word, an error. No I/O.

Every gateway speaks its own dialect of the chat-completion chunk; what they differ in is told
here once. A plain chunk (text and nothing odd) takes a typed, fast way through; every other one
is read as plain dicts, tolerantly. Both give the same.
"""

import json
import re
from collections.abc import Iterator
from typing import Any, Literal

import msgspec

from chat.rendering.clean import clean
from chat.upstream import errors, think, usage
from chat.upstream.errors import GatewayError
from chat.upstream.sse import Event
from chat.upstream.usage import Usage

MAX_REPLY_BYTES = 2_000_000
MAX_IDLE_EVENTS = 100_000
_MAX_LINKS = 200
_MAX_IMAGES = 16

Eof = Literal["clean", "finish-only", "cut", "error"]


class Delta(msgspec.Struct, frozen=True, gc=False):
    """Text to append, cleaned; at least one of the two is not empty."""

    text: str = ""
    reasoning: str = ""


class Finish(msgspec.Struct, frozen=True, gc=False):
    """Why the model stopped, in the gateway's word: stop, length, content_filter, ..."""

    reason: str


class Failure(msgspec.Struct, frozen=True):
    """The stream has failed; usage may still follow, text does not."""

    error: GatewayError


class Image(msgspec.Struct, frozen=True, gc=False):
    """An image that the model made: a data: or an https: URL."""

    url: str


class Link(msgspec.Struct, frozen=True, gc=False):
    """A source that the reply names, http(s) only; each is given once."""

    url: str
    title: str = ""


class ToolCalls(msgspec.Struct, frozen=True, gc=False):
    """The model asks for tools, which nobody here runs; given once."""


Item = Delta | Usage | Finish | Failure | Image | Link | ToolCalls


class End(msgspec.Struct, frozen=True):
    """How a stream ended. `error` is None exactly where the reply is complete.

    eof: clean ([DONE] came) | finish-only (a finish word, then the end) | cut | error.
    """

    eof: Eof
    finish_reason: str | None
    done: bool
    error: GatewayError | None
    text_seen: bool
    reasoning_seen: bool


class Reader:
    """Feed it events until it `is_over` or the body ends; then `end` it and ask its `outcome`."""

    def __init__(self, *, max_reply_bytes: int = MAX_REPLY_BYTES, secret: str = "") -> None:
        self.is_over = False  # [DONE], or the end of a whole JSON reply
        self.done = False
        self.finish_reason: str | None = None
        self.error: GatewayError | None = None
        self.has_text = False
        self.has_reasoning = False
        self._loss: GatewayError | None = None
        self._has_tool_calls = False
        self._has_usage = False
        self._bytes_left = max_reply_bytes
        self._idle_events = 0
        self._secret = secret
        self._think = think.Splitter()
        self._halves = {"text": "", "reasoning": ""}  # of surrogate pairs cut between deltas
        self._raw_usage: dict[str, Any] | None = None
        self._links: set[str] = set()
        self._images = 0

    def feed(self, event: Event) -> list[Item]:
        """What the event says, in order; nothing after [DONE]."""
        if self.is_over:
            return []
        items = self._read_plain(event)
        if items is None:
            items = list(self._read(event))
        if items:
            self._idle_events = 0
        else:
            self._idle_events += 1
            if self._idle_events >= MAX_IDLE_EVENTS:
                return self.fail(GatewayError("protocol", reason="no_progress"))
        return items

    def feed_document(self, document: object) -> list[Item]:
        """What a whole JSON body says that came where a stream was asked for."""
        items = list(self._read_document(document, is_whole_reply=True))
        if not self.error and not (isinstance(document, dict) and document.get("choices")):
            return self._fail_with(document) if _has_words(document) else self._no_protocol()
        self._finish_stream()  # the closing brace is the finish sign of this form
        return items

    def fail(self, error: GatewayError) -> list[Item]:
        """Note that the stream itself is at fault; the first failure counts."""
        if self.error:
            return []
        self.error = error
        return [Failure(error)]

    def lose(self, error: GatewayError) -> None:
        """Note that no more comes: a dropped connection, a deadline. A finished reply is whole."""
        self._loss = error

    def end(self) -> list[Item]:
        """What was held back; after it nothing comes."""
        text, reasoning = (clean(half) for half in self._halves.values())
        self._halves = {"text": "", "reasoning": ""}
        answer, thought = self._think.feed(text) if text else ("", "")
        more_answer, more_thought = self._think.end()
        return self._deltas(answer + more_answer, reasoning + thought + more_thought)

    def outcome(self) -> End:
        """How the stream ended, judged by what came; call it after `end`."""
        eof: Eof
        error = self.error
        if error:
            eof = "error"
        elif self.done:
            eof = "clean"
        elif self.finish_reason:
            eof = "finish-only"
        else:
            eof = "cut"
            error = self._loss or GatewayError("connection", reason="cut")
        if not error and not self.has_text and not self.has_reasoning:
            error = self._nothing()
        return End(eof, self.finish_reason, self.done, error, self.has_text, self.has_reasoning)

    def _nothing(self) -> GatewayError:
        if self._has_tool_calls:
            return GatewayError("tool_calls")
        reason = self.finish_reason if self.finish_reason in ("length", "content_filter") else None
        return GatewayError("empty", reason=reason)

    # The plain chunk

    def _read_plain(self, event: Event) -> list[Item] | None:
        """The items of a chunk with one choice, text and nothing odd; None for any other event."""
        if event.name:
            return None
        try:
            chunk = _decode_plain(event.data)
        except (ValueError, RecursionError):
            return None
        choices = chunk.choices
        if not choices or len(choices) > 1 or choices[0].index != 0:
            return None
        delta, finish_reason = choices[0].delta, choices[0].finish_reason
        if delta is None or finish_reason == "error":
            return None
        text = delta.content or ""
        if delta.refusal:
            text += delta.refusal
        reasoning = delta.reasoning_content or delta.reasoning or ""
        if delta.reasoning_details and not reasoning:
            return None
        items = self._append(text, reasoning) if text or reasoning else []
        if finish_reason:
            items += self._finish(finish_reason)
        return items

    # Any other event

    def _read(self, event: Event) -> Iterator[Item]:
        payload = event.data.strip()
        if _DONE.fullmatch(payload):
            self._finish_stream()
            return
        try:
            document = decode(payload)
        except ValueError:
            if event.name == "error":
                yield from self._fail_with(payload.decode("utf-8", "replace"))
            elif event.is_whole and payload.startswith((b"{", b"[{")):
                yield from self._no_protocol()
            # Anything else is a keep-alive that is no comment, or a chunk that the end cut.
            return
        if event.name == "error" and not _has_error(document):
            yield from self._fail_with(document)
            return
        for each in document if isinstance(document, list) else [document]:
            yield from self._read_document(each)

    def _read_document(self, document: object, *, is_whole_reply: bool = False) -> Iterator[Item]:
        if not isinstance(document, dict):
            return
        choices = document.get("choices")
        is_whole_reply = is_whole_reply or document.get("object") == "chat.completion"
        firsts = [
            choice
            for choice in (choices if isinstance(choices, list) else ())
            if isinstance(choice, dict) and choice.get("index") in _FIRST
        ]
        for choice in firsts:
            yield from self._read_choice(choice, is_whole_reply=is_whole_reply)
        yield from self._read_usage(document)
        yield from self._read_links(document.get("citations"))
        # The error object tells more than the finish word `error` beside it.
        if _has_error(document):
            yield from self._fail_with(document)
        for choice in firsts:
            if choice.get("error"):
                yield from self._fail_with(choice)
        if any(choice.get("finish_reason") == "error" for choice in firsts):
            yield from self.fail(GatewayError("server"))

    def _read_choice(self, choice: dict[str, Any], *, is_whole_reply: bool) -> Iterator[Item]:
        delta = choice.get("delta")
        if is_whole_reply and "delta" not in choice and not self.has_text:
            delta = choice.get("message")
            if not isinstance(delta, dict):
                delta = {"content": choice.get("text")}
        if isinstance(delta, dict):
            yield from self._read_delta(delta)
        reason = choice.get("finish_reason")
        if isinstance(reason, str) and reason:
            yield from self._finish(reason)

    def _read_delta(self, delta: dict[str, Any]) -> Iterator[Item]:
        text, thought = _content(delta.get("content"))
        text += _string(delta.get("refusal"))
        # The same thought may stand in several of these at once: one of them a chunk.
        reasoning = (
            _string(delta.get("reasoning_content"))
            or _string(delta.get("reasoning"))
            or _details(delta.get("reasoning_details"))
            or thought
        )
        if text or reasoning:
            yield from self._append(text, reasoning)
        if delta.get("tool_calls") or delta.get("function_call"):
            if not self._has_tool_calls:
                self._has_tool_calls = True
                yield ToolCalls()
            self._idle_events = 0
        yield from self._read_images(delta.get("images"))
        yield from self._read_images(delta.get("content"))
        yield from self._read_links(delta.get("annotations"))

    def _read_usage(self, document: dict[str, Any]) -> Iterator[Item]:
        report = usage.from_report(document.get("usage"))
        if report:
            self._has_usage = True
        elif not self._has_usage and isinstance(extra := document.get("x_groq"), dict):
            report = usage.from_report(extra.get("usage"))
        if report and report.raw != self._raw_usage:
            self._raw_usage = report.raw
            yield report

    def _read_images(self, images: object) -> Iterator[Item]:
        for image in images if isinstance(images, list) else ():
            place = image.get("image_url") if isinstance(image, dict) else None
            url = place.get("url") if isinstance(place, dict) else place
            if not isinstance(url, str) or self._images >= _MAX_IMAGES:
                continue
            if url.startswith(("data:image/", "https://")):
                self._images += 1
                yield Image(clean(url))

    def _read_links(self, links: object) -> Iterator[Item]:
        for link in links if isinstance(links, list) else ():
            if isinstance(link, dict):
                link = link.get("url_citation", link)
            title = _string(link.get("title")) if isinstance(link, dict) else ""
            url = link.get("url") if isinstance(link, dict) else link
            if not isinstance(url, str) or not url.startswith(("https://", "http://")):
                continue
            url = clean(url)[:2000]
            if url not in self._links and len(self._links) < _MAX_LINKS:
                self._links.add(url)
                yield Link(url, clean(title)[:300])

    # Text and the ways to stop

    def _append(self, text: str, reasoning: str) -> list[Item]:
        if self.error:
            return []  # a gap may lie before it: what is kept is a prefix of what was sent
        if text:
            text = clean(self._join("text", text))
        if reasoning:
            reasoning = clean(self._join("reasoning", reasoning))
        size = len(text.encode()) + len(reasoning.encode())
        if size > self._bytes_left:
            return self._overflow(text, reasoning)
        self._bytes_left -= size
        if text:
            text, thought = self._think.feed(text)
            reasoning += thought
        return self._deltas(text, reasoning)

    def _deltas(self, text: str, reasoning: str) -> list[Item]:
        if text:
            self.has_text = True
        if reasoning:
            self.has_reasoning = True
        return [Delta(text, reasoning)] if text or reasoning else []

    def _overflow(self, text: str, reasoning: str) -> list[Item]:
        reasoning = _cut(reasoning, self._bytes_left)
        text = _cut(text, self._bytes_left - len(reasoning.encode()))
        self._bytes_left = 0
        answer, thought = self._think.feed(text)
        items = self._deltas(answer, reasoning + thought)
        return items + self.fail(GatewayError("protocol", reason="too_long"))

    def _join(self, channel: str, text: str) -> str:
        """The text with surrogate pairs joined, also one that two deltas share."""
        if text.isascii() and not self._halves[channel]:
            return text
        text = self._halves[channel] + text
        self._halves[channel] = ""
        if "\ud800" <= text[-1] <= "\udbff":
            self._halves[channel] = text[-1]
            text = text[:-1]
        return _PAIR.sub(_joined, text)

    def _finish(self, reason: str) -> list[Item]:
        reason = clean(reason)[:64]
        if reason == self.finish_reason:
            return []
        self.finish_reason = reason
        return [Finish(reason)]

    def _finish_stream(self) -> None:
        self.is_over = True
        self.done = not self.error

    def _fail_with(self, document: object) -> list[Item]:
        return self.fail(errors.from_document(document, None, secret=self._secret))

    def _no_protocol(self) -> list[Item]:
        return self.fail(GatewayError("protocol", reason="json"))


# What only a typed decode of a plain chunk accepts: a field of type None refuses any other value,
# and the chunk goes the tolerant way.


class _PlainDelta(msgspec.Struct, gc=False):
    content: str | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    refusal: str | None = None
    reasoning_details: list[msgspec.Raw] | None = None
    tool_calls: None = None
    function_call: None = None
    images: None = None
    annotations: None = None


class _PlainChoice(msgspec.Struct, gc=False):
    delta: _PlainDelta | None = None
    index: int | None = 0
    finish_reason: str | None = None
    error: None = None


class _Chunk(msgspec.Struct, gc=False):
    choices: list[_PlainChoice] | None = None
    usage: None = None
    x_groq: None = None
    citations: None = None
    error: None = None


_decode_plain = msgspec.json.Decoder(_Chunk).decode

_DONE = re.compile(rb'"?\[?done\]?"?', re.IGNORECASE)
_PAIR = re.compile("[\ud800-\udbff][\udc00-\udfff]")
_FIRST = (0, None, "0", "")


def decode(payload: bytes) -> Any:
    """The JSON value, read as leniently as text is kept; ValueError if it is none."""
    try:
        return msgspec.json.decode(payload)
    except RecursionError as exc:
        raise ValueError("nested too deeply") from exc
    except ValueError:
        # Lone surrogates, raw control characters and broken UTF-8 are seen, and cost a character.
        try:
            return json.loads(payload.decode("utf-8", "replace"), strict=False)
        except RecursionError as exc:
            raise ValueError("nested too deeply") from exc


def _has_error(document: object) -> bool:
    """Whether a document is an error, or holds one beside its choices."""
    if not isinstance(document, dict):
        return False
    if document.get("error"):
        return True
    if "choices" in document:
        return False
    if "error" in (document.get("object"), document.get("type")):
        return True
    has_sign = any(key in document for key in ("detail", "errors", "code", "status"))
    return has_sign and _has_words(document)


def _has_words(document: object) -> bool:
    return isinstance(document, dict) and any(
        document.get(key) for key in ("detail", "message", "msg", "errors")
    )


def _string(value: object) -> str:
    return value if isinstance(value, str) else ""


def _content(content: object) -> tuple[str, str]:
    """(text, reasoning) of a content that is a string, null or a list of parts."""
    if not isinstance(content, list):
        return _string(content), ""
    text = reasoning = ""
    for part in content:
        if isinstance(part, str):
            text += part
        elif isinstance(part, dict):
            kind = part.get("type")
            if kind in ("thinking", "reasoning"):
                reasoning += _content(part.get(kind) or part.get("text"))[0]
            elif kind in ("text", "output_text", "refusal", None):
                text += _string(part.get("text")) or _string(part.get("refusal"))
    return text, reasoning


def _details(details: object) -> str:
    """OpenRouter's reasoning_details; the encrypted ones have no text."""
    if not isinstance(details, list):
        return ""
    return "".join(
        _string(detail.get("text")) or _string(detail.get("summary"))
        for detail in details
        if isinstance(detail, dict)
    )


def _cut(text: str, size: int) -> str:
    """As much of the text as fits into `size` bytes of UTF-8."""
    return text.encode()[:size].decode("utf-8", "ignore")


def _joined(pair: re.Match[str]) -> str:
    return pair[0].encode("utf-16-le", "surrogatepass").decode("utf-16-le")
