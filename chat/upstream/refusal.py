"""An error body of any dialect -> a GatewayError. No I/O."""

import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

import msgspec

from chat.rendering.clean import clean
from chat.upstream.chunk import decode
from chat.upstream.errors import GatewayError, Kind
from chat.upstream.sse import Parser

MESSAGE_CHARS = 500
_SECRET_CHARS = 6  # a shorter key is a placeholder, and may be a word of the message


def from_response(
    status: int, headers: Mapping[str, str], body: bytes, secret: str = ""
) -> GatewayError:
    """The error that a whole HTTP answer is; `headers` has lower-case names."""
    retry_after_s = parse_retry_after(headers.get("retry-after"), datetime.now(UTC))
    content_type = headers.get("content-type", "").lower()
    if status < 400:
        return GatewayError("protocol", status=status, reason="redirect")
    try:
        document = decode(_first_event(body) if body.startswith((b"data:", b"event:")) else body)
    except ValueError:
        document = body.decode("utf-8", "replace")
        if "html" in content_type or "xml" in content_type:
            document = None
    return from_document(document, status, retry_after_s, secret)


def from_document(
    document: object, status: int | None, retry_after_s: float | None = None, secret: str = ""
) -> GatewayError:
    """The error in a decoded body or event of any dialect; `status` None or 200: the body tells."""
    report = _Report(document)
    if status is None or status < 300:
        status = report.status or status
    message = presentable(report.message, secret)
    kind, reason = _classify(status, report)
    refused = _refused_parameters(report) if (kind, reason) == ("bad_request", None) else ()
    return GatewayError(
        kind,
        message,
        status=status,
        retry_after_s=retry_after_s,
        reason="parameter" if refused else reason,
        parameters=refused,
    )


def presentable(message: str | None, secret: str = "") -> str | None:
    """A gateway's words as a person may see them: clean, bounded, keys blotted out, never HTML."""
    if not message or _HTML.search(message):
        return None
    message = clean(message[: 8 * MESSAGE_CHARS])
    if len(secret) >= _SECRET_CHARS:
        message = message.replace(secret, "***")
    message = _KEY.sub("***", message).strip()
    if len(message) > MESSAGE_CHARS:
        message = message[: MESSAGE_CHARS - 1] + "…"
    return message or None


def parse_retry_after(value: str | None, now: datetime) -> float | None:
    """Seconds from a Retry-After header, which holds seconds or an HTTP date."""
    if not value:
        return None
    try:
        delay_s = float(value)
    except ValueError:
        try:
            moment = parsedate_to_datetime(value)
        except (ValueError, OverflowError):
            return None
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=UTC)
        delay_s = (moment - now).total_seconds()
    if delay_s != delay_s or delay_s == float("inf"):
        return None
    return min(max(delay_s, 0.0), 86_400.0)


_HTML = re.compile(r"<(?:!doctype|html|head|body|title|center|script|div|h1|p)\b", re.IGNORECASE)
# OpenAI shows the ends of a wrong key; they are blotted out with the rest.
_KEY = re.compile(r"\b(?:sk|pk|rk|gsk|xai)-[\w*.-]{5,}[\w*]|(?<=Bearer )[\w*.~+/-]{8,}=*")


def _first_event(body: bytes) -> bytes:
    """Of an error that came as a stream, with the status of an error."""
    parser = Parser()
    return next((event.data for event in parser.feed(body) + parser.flush()), b"")


class _Report:
    """What an error body says, wherever it says it: message, status, code words."""

    def __init__(self, document: object) -> None:
        self.message: str | None = None
        self.status: int | None = None
        self.words: list[str] = []  # codes and types, lower case
        self.places: list[str] = []  # parameters that the gateway points at
        for part in _parts(document):
            self._read(part)

    def _read(self, part: object) -> None:
        if isinstance(part, str):
            self.message = self.message or part
            return
        if not isinstance(part, dict):
            return
        for key in ("message", "msg", "detail", "error_description", "title"):
            if isinstance(text := _unwrapped(part.get(key)), str) and text.strip():
                self.message = self.message or text
        if isinstance(metadata := part.get("metadata"), dict):
            self._add_raw(metadata.get("raw"))
        for key in ("status_code", "status", "code"):
            number = _status(part.get(key))
            self.status = self.status or number
        for key in ("code", "type", "status", "error_type"):
            if isinstance(word := part.get(key), str):
                self.words.append(word.lower())
        for key in ("param", "loc"):
            place = part.get(key)
            if isinstance(place, str):
                self.places.append(place)
            elif isinstance(place, list):
                self.places.extend(step for step in place if isinstance(step, str))

    def _add_raw(self, raw: object) -> None:
        """OpenRouter's message only says that a provider failed; its words are in metadata.raw."""
        raw = _unwrapped(raw)
        if isinstance(raw, dict | list):
            raw = _Report(raw).message
        if isinstance(raw, str) and raw.strip() and not _HTML.search(raw):
            self.message = f"{self.message}: {raw}" if self.message else raw


def _parts(document: object, depth: int = 0) -> Iterator[object]:
    """The places of a body that may hold the error, the most telling first."""
    if depth > 5:
        return
    if isinstance(document, list):
        for member in document[:8]:
            yield from _parts(member, depth + 1)
        return
    if isinstance(document, dict):
        for key in ("error", "errors", "detail", "message"):
            if inner := document.get(key):
                yield from _parts(_unwrapped(inner), depth + 1)
    yield document


def _unwrapped(words: object) -> object:
    """The JSON in a string that holds another gateway's answer; anything else as it is."""
    if isinstance(words, str) and words.lstrip()[:1] in ("{", "["):
        try:
            return msgspec.json.decode(words)
        except (ValueError, RecursionError):
            pass
    return words


def _status(value: Any) -> int | None:
    if isinstance(value, str) and len(value) == 3 and value.isdecimal():
        value = int(value)
    if isinstance(value, int) and 400 <= value < 600:
        return value
    return None


_BY_STATUS: dict[int, Kind] = {
    401: "auth",
    402: "balance",
    403: "auth",
    404: "not_found",
    408: "timeout",
    429: "rate_limit",
}
_BY_WORD: list[tuple[str, Kind]] = [
    ("insufficient_quota", "balance"),
    ("insufficient_user_quota", "balance"),
    ("insufficient_balance", "balance"),
    ("insufficient_funds", "balance"),
    ("invalid_api_key", "auth"),
    ("api_key_invalid", "auth"),
]
_BY_WORD_ALONE: list[tuple[str, Kind]] = [
    ("authentication", "auth"),
    ("permission", "auth"),
    ("unauthorized", "auth"),
    ("not_found", "not_found"),
    ("rate_limit", "rate_limit"),
    ("throttl", "rate_limit"),
    ("too_many_requests", "rate_limit"),
    ("resource_exhausted", "rate_limit"),
    ("context_length", "bad_request"),
    ("content_filter", "bad_request"),
    ("invalid", "bad_request"),
    ("bad_request", "bad_request"),
]
_CONTEXT = re.compile(
    r"context[ _](?:length|window|size)|maximum context|prompt is too long|input is too long"
    r"|too many (?:input )?tokens|reduce the length|exceeds? the max(?:imum)? (?:number of )?tok",
    re.IGNORECASE,
)
_FILTERED = re.compile(
    r"content[ _](?:filter|policy|management)|moderation|flagged|safety system", re.IGNORECASE
)

# What a request may be without.
_PARAMETERS = (
    "max_tokens", "max_completion_tokens", "temperature", "top_p", "top_k", "min_p", "seed", "stop",
    "presence_penalty", "frequency_penalty", "reasoning_effort", "reasoning", "verbosity",
)  # fmt: skip
_PARAMETER = re.compile(rf"\b(?:{'|'.join(_PARAMETERS)})\b")
_UNSUPPORTED = re.compile(
    r"unsupported|(?:not|n't) (?:be )?(?:support|allow|permit|accept|applicable|available)"
    r"|unknown|unrecogni[sz]ed|unexpected|extra_forbidden|extra (?:inputs|fields)|deprecated",
    re.IGNORECASE,
)
_BAD_VALUE = re.compile(r"(?:supported|valid|allowed) values|one of|at most", re.IGNORECASE)


def _classify(status: int | None, report: _Report) -> tuple[Kind, str | None]:
    words = " ".join(report.words)
    message = report.message or ""
    # A word names a cause that some gateways send under a wider status: an empty balance with 429.
    for word, kind in _BY_WORD:
        if word in words:
            return kind, None
    kind = _kind_by_status(status) or _kind_by_words(words)
    if kind == "auth" and _FILTERED.search(message):
        return "bad_request", "content_filter"  # OpenRouter: 403 for a flagged prompt
    if kind == "not_found" and ("model" in words or "model" in message.lower()):
        return kind, "model"
    if kind != "bad_request":
        return kind, None
    if _CONTEXT.search(message) or "context_length" in words:
        return kind, "context_length"
    refused = [message, *report.places]
    if any("stream_options" in place or "include_usage" in place for place in refused):
        return kind, "include_usage"
    if _FILTERED.search(message) or _FILTERED.search(words):
        return kind, "content_filter"
    return kind, None


def _refused_parameters(report: _Report) -> tuple[str, ...]:
    """The optional parameters that it names and does not take; none where the value alone is bad."""
    words, message = " ".join(report.words), report.message or ""
    if _BAD_VALUE.search(message):
        return ()
    if not (_UNSUPPORTED.search(words) or _UNSUPPORTED.search(message)):
        return ()
    pointed_at = tuple(place for place in report.places if place in _PARAMETERS)
    return pointed_at or tuple(dict.fromkeys(_PARAMETER.findall(message)))


def _kind_by_status(status: int | None) -> Kind | None:
    if status is None or status < 400:
        return None
    return _BY_STATUS.get(status) or ("bad_request" if status < 500 else "server")


def _kind_by_words(words: str) -> Kind:
    return next((kind for word, kind in _BY_WORD_ALONE if word in words), "server")
