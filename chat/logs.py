"""How what happens is written down: a line, or a JSON object; with ids, without texts and secrets.

A record carries what it is about: `about(generation=7)` in a task, and in a request its id and, once
it is known, who asks. Nothing here keeps a person's words: an exception's own that quote a row are cut.
"""

import contextlib
import json
import logging
import re
import secrets
import time
from collections.abc import Callable, Iterator, Mapping
from contextvars import ContextVar
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any

from django.http import HttpRequest, HttpResponse

from chat.scrubbing import scrub

HEADER = "X-Request-ID"
_ID = re.compile(r"[\w.-]{8,64}")
# PostgreSQL quotes the row that it refuses, texts and all, until the next exception of the chain.
_QUOTED = re.compile(
    r"^(?:DETAIL|CONTEXT|QUERY|STATEMENT|LINE \d+):.*?(?=\n\n(?:The above|During the)|\Z)",
    re.MULTILINE | re.DOTALL,
)
# Whatever a terminal or a reader of the log takes for more than text.
_ODD = re.compile("[\x00-\x08\x0a-\x1f\x7f-\x9f\u2028\u2029]")
_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime"}
_facts: ContextVar[Mapping[str, Any]] = ContextVar("facts", default=MappingProxyType({}))
_request: ContextVar[HttpRequest | None] = ContextVar("request", default=None)


@contextlib.contextmanager
def about(**facts: Any) -> Iterator[None]:
    """What every record of the block is about, beside what it says itself."""
    token = _facts.set({**_facts.get(), **facts})
    try:
        yield
    finally:
        _facts.reset(token)


def identified(get_response: Callable[[HttpRequest], HttpResponse]) -> Callable[..., HttpResponse]:
    """Give each request an id, the trusted proxy's if that gave one, and tell it in the answer."""

    def middleware(request: HttpRequest) -> HttpResponse:
        given = request.headers.get(HEADER, "")
        request_id = given if _ID.fullmatch(given) else secrets.token_hex(8)
        token = _request.set(request)
        try:
            with about(request=request_id):
                response = get_response(request)
        finally:
            _request.reset(token)
        response[HEADER] = request_id
        return response

    return middleware


def current_request() -> HttpRequest | None:
    """The one that this thread or task works for."""
    return _request.get()


class Refusals(logging.Filter):
    """What a request was refused for is said in a line: where in the code that was is no news."""

    def filter(self, record: logging.LogRecord) -> bool:
        if getattr(record, "status_code", 500) < 500:
            record.exc_info = None
        return True


class Line(logging.Formatter):
    """2026-11-21 06:30:00,123 WARNING chat.replies.runner Generation 7 ... request=1f..."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s %(message)s")
        self.converter = time.gmtime

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802
        # What a gateway or a person said must not look like a line of ours.
        record.message = _ODD.sub(lambda odd: ascii(odd[0])[1:-1], record.message)
        told = "".join(f" {name}={_bare(value)}" for name, value in _of(record).items())
        return super().formatMessage(record) + told

    def format(self, record: logging.LogRecord) -> str:
        return scrub(_QUOTED.sub("(cut)", super().format(record)))


class Json(logging.Formatter):
    """{"at", "level", "logger", "message", then what it is about, "exception"}, one object a line."""

    def format(self, record: logging.LogRecord) -> str:
        told = {
            "at": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
            **_of(record),
        }
        if record.exc_info:
            told["exception"] = self.formatException(record.exc_info)
        safe = {name: _safe(value) for name, value in told.items()}
        return json.dumps(safe, ensure_ascii=False)


def _of(record: logging.LogRecord) -> dict[str, Any]:
    """What the record is about: the context's, then its own."""
    own = {name: value for name, value in vars(record).items() if name not in _STANDARD}
    # Django gives a whole request along.
    told = {name: value for name, value in own.items() if isinstance(value, str | int | float)}
    return {**_facts.get(), **told}


def _safe(value: Any) -> Any:
    return scrub(_QUOTED.sub("(cut)", value)) if isinstance(value, str) else value


def _bare(value: Any) -> str:
    text = str(value)
    return text if re.fullmatch(r"[\w.:@/+-]+", text) else json.dumps(text, ensure_ascii=False)
