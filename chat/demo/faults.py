"""Scripted replies, for tests, benchmarks and chaos: the model's name says what happens.

    fault/<step>;<step>;...     the steps in order, nothing is added
    fault                       the same, with the script as the last user message
    replay/<file>[;cut=N][;chunk=N][;delay=MS][;drop]
                                a recorded stream byte for byte: the first N bytes of it, in chunks
                                of N bytes, with a pause of MS before each, dropped at its end
    demo-fast:<count>:<rate>    a good reply of so many numbered words at so many a second

Values are percent-decoded, so `%3B` is a semicolon. The steps:

    role                        the chunk that names the role
    text=T   reason=T           one delta of text, of reasoning
    deltas=N[:RATE]             N deltas `w1 `, `w2 `, ... at RATE a second; 0, as fast as they come
    empty=N[:RATE]              N deltas without text
    echo                        the request's body as one delta of text
    pause=S                     S seconds of silence
    hang                        silence until the client leaves (first of all: without headers)
    open                        sends the headers
    finish=R                    the finish chunk
    usage[=P:C[:R[:K]]]         usage chunk: prompt, completion, reasoning, cached; else as counted
    done                        `data: [DONE]`
    error=TYPE:MESSAGE          an error object in mid-stream
    comment[=T]                 a comment line
    event=NAME                  the name of the next event
    data=T                      one event with this payload
    garbage                     an event with broken JSON and broken UTF-8
    raw=B64                     bytes, in URL-safe base64
    line=N                      N bytes without a line end
    drop   reset                the connection ends here, with FIN or RST, its body unfinished
    html   json[=T]             a whole body: a proxy's error page, a completion that says T

and what holds for the whole reply, wherever it stands:

    status=CODE[:RETRY_S[:FORM]]  with an error body unless other steps make one; FORM is one of
                                openai, string, message, detail, list, text, html, empty
    type=T                      the Content-Type
    crlf                        lines end with CRLF
    bytes=N[:MS]                N bytes at a time, MS apart

Without `stream` the texts become one completion, and an error becomes status 500.
"""

import base64
from collections.abc import Callable, Iterator
from functools import partial
from itertools import count, islice, repeat
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import msgspec

from . import wire
from .script import (
    DONE,
    HTML,
    JSON,
    Drop,
    Fail,
    Fill,
    Finish,
    Pause,
    Raw,
    Role,
    Say,
    Script,
    Step,
    Tally,
)

PROXY_PAGE = (
    b"<html>\r\n<head><title>502 Bad Gateway</title></head>\r\n"
    b"<body>\r\n<center><h1>502 Bad Gateway</h1></center>\r\n</body>\r\n</html>\r\n"
)
GARBAGE = b'data: {"choices":[{"delta":{"content":"\xd0\xff\n\n'
COUNTED_REPLY = "role;deltas={};finish=stop;usage;done"

# status: OpenAI's type and code, message
ERRORS: dict[int, tuple[str, str | None, str]] = {
    400: ("invalid_request_error", "unsupported_value", "Unsupported value."),
    401: ("invalid_request_error", "invalid_api_key", "Incorrect API key provided."),
    402: ("insufficient_balance", "402", "Недостаточно средств на балансе"),
    403: ("permission_denied", "403", "API key is disabled"),
    404: ("invalid_request_error", "model_not_found", "The model does not exist."),
    422: ("invalid_request_error", None, "Extra inputs are not permitted: stream_options"),
    429: ("rate_limit_error", "rate_limit_exceeded", "Rate limit reached."),
    500: ("server_error", None, "The server had an error."),
    503: ("server_error", "overloaded", "The server is overloaded."),
}


class ScriptError(Exception):
    """The model's name begins like a script and is none; the message says why."""


def script_for(request: wire.Request, body: bytes, streams_dir: Path | None) -> Script | None:
    """The script in the model's name; None if there is none, raises ScriptError."""
    name, _, rest = request.model.partition("/")
    if request.model.startswith("demo-fast:"):
        return parse(COUNTED_REPLY.format(request.model.partition(":")[2]), request, body)
    if request.model == "fault":
        users = [message.text for message in request.messages if message.role == "user"]
        return parse(users[-1].strip() if users else "", request, body)
    if name == "fault":
        return parse(rest, request, body)
    if name == "replay":
        return replay(rest, streams_dir)
    return None


def parse(source: str, request: wire.Request, body: bytes) -> Script:
    steps: list[Step] = []
    options: dict[str, Any] = {}
    makers = MAKERS | numbering() | {"echo": lambda _: Say([body.decode()])}
    for step in source.split(";"):
        name, _, quoted = step.partition("=")
        value = unquote(quoted)
        try:
            if name in OPTIONS:
                options.update(OPTIONS[name](value))
            elif name == "html":
                options.setdefault("content_type", HTML)
                steps.append(Raw(PROXY_PAGE))
            elif name == "json":
                options.setdefault("content_type", JSON)
                steps.append(Raw(completion(request, value or "A whole completion.")))
            else:
                steps.append(makers[name](value))
        except (KeyError, TypeError, ValueError) as exc:
            raise ScriptError(f"fault script: bad step {step!r}") from exc
    error_body = options.pop("error_body", None)
    if error_body and all(isinstance(step, Pause) for step in steps):
        content_type, error = error_body
        options.setdefault("content_type", content_type)
        steps.append(Raw(error))
    return Script(steps, **options)


def replay(source: str, streams_dir: Path | None) -> Script:
    name, *parts = source.split(";")
    # Only a name that the directory itself lists is opened, so no path can lead out of it.
    files = {path.name: path for path in streams_dir.iterdir()} if streams_dir else {}
    if name not in files:
        raise ScriptError(f"replay: no stream {name!r}")
    options = dict(part.partition("=")[::2] for part in parts)
    try:
        cut = natural(options.pop("cut", "")) or None
        chunk = natural(options.pop("chunk", ""))
        delay_ms = natural(options.pop("delay", ""))
    except ValueError as exc:
        raise ScriptError(f"replay: bad number in {source!r}") from exc
    steps: list[Step] = [Raw(files[name].read_bytes()[:cut])]
    if "drop" in options:
        del options["drop"]
        steps.append(Drop())
    if options:
        raise ScriptError(f"replay: unknown {', '.join(options)}")
    return Script(steps, slice_bytes=chunk, slice_delay_s=delay_ms / 1000)


def numbering() -> dict[str, Callable[[str], Step]]:
    """The makers of many deltas; numbers go on from one `deltas` step to the next."""
    words = (f"w{number} " for number in count(1))
    return {"deltas": partial(many, words), "empty": partial(many, repeat(""))}


def many(words: Iterator[str], value: str) -> Say:
    size, _, rate = value.partition(":")
    return Say(islice(words, natural(size)), natural(rate))


def failure(value: str) -> Fail:
    kind, _, message = value.partition(":")
    return Fail(message or "The server had an error.", kind or "server_error")


def tally(value: str) -> Tally:
    return Tally(wire.Usage(*map(int, value.split(":"))) if value else None)


def unbase64(value: str) -> Raw:
    return Raw(base64.b64decode(value + "=" * (-len(value) % 4), altchars=b"-_", validate=True))


def status(value: str) -> dict[str, Any]:
    code, retry_after, form, *_ = [*value.split(":"), "", ""]
    error_body = refusal(int(code), form or "openai")
    headers = ((b"retry-after", retry_after.encode()),) if retry_after else ()
    return {"status": int(code), "headers": headers, "error_body": error_body}


def refusal(code: int, form: str) -> tuple[bytes, bytes]:
    """Content type and body of an error in one of the forms that gateways give it."""
    kind, error_code, message = ERRORS.get(code, ("server_error", None, f"Error {code}."))
    encode = msgspec.json.encode
    forms = {
        "openai": (JSON, wire.error(message, kind, None, error_code)),
        "string": (JSON, encode({"error": message})),
        "message": (JSON, encode({"status": code, "message": message})),
        "detail": (JSON, encode({"detail": message})),
        "list": (JSON, encode({"detail": [{"loc": ["body"], "msg": message, "type": kind}]})),
        "text": (b"text/plain; charset=utf-8", message.encode()),
        "html": (HTML, PROXY_PAGE),
        "empty": (JSON, b""),
    }
    return forms[form]


def slices(value: str) -> dict[str, Any]:
    size, _, delay_ms = value.partition(":")
    return {"slice_bytes": natural(size), "slice_delay_s": natural(delay_ms) / 1000}


def natural(value: str) -> int:
    """A number from 0 up; empty is 0."""
    number = int(value or 0)
    if number < 0:
        raise ValueError(value)
    return number


def completion(request: wire.Request, text: str) -> bytes:
    usage = wire.Usage(wire.prompt_tokens(request), len(wire.pieces(text)))
    return wire.completion(request.model, text, "", "stop", usage)


MAKERS: dict[str, Callable[[str], Step]] = {
    "role": lambda _: Role(),
    "text": lambda text: Say([text]),
    "reason": lambda text: Say([text], key="reasoning_content"),
    "pause": lambda seconds: Pause(float(seconds)),
    "hang": lambda _: Pause(),
    "open": lambda _: Raw(b""),
    "finish": Finish,
    "usage": tally,
    "done": lambda _: DONE,
    "error": failure,
    "comment": lambda text: Raw(f": {text or 'keep-alive'}\n\n".encode()),
    "event": lambda name: Raw(f"event: {name}\n".encode()),
    "data": lambda payload: Raw(wire.event(payload.encode())),
    "garbage": lambda _: Raw(GARBAGE),
    "raw": unbase64,
    "line": lambda size: Fill(natural(size)),
    "drop": lambda _: Drop(),
    "reset": lambda _: Drop(reset=True),
}
OPTIONS: dict[str, Callable[[str], dict[str, Any]]] = {
    "status": status,
    "type": lambda name: {"content_type": name.encode()},
    "crlf": lambda _: {"crlf": True},
    "bytes": slices,
}
