"""OpenAI's HTTP interface as a plain ASGI application, served under /demo/v1."""

import asyncio
import hmac
import uuid
from collections.abc import Awaitable, Callable, Coroutine
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from . import catalogue, wire
from . import faults as scripted
from .script import JSON, Drop, Raw, Script, play, whole

PREFIX = "/demo/v1"
MAX_REQUEST_BYTES = 16 * 1024 * 1024

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]
T = TypeVar("T")


class RequestError(Exception):
    """A request that gets an error instead of a reply."""

    def __init__(self, script: Script) -> None:
        super().__init__(script.status)
        self.script = script


def create_app(key: str, faults: bool = False, streams_dir: Path | None = None) -> Application:
    """The gateway; `key` is the one API key that it takes.

    `faults` adds the scripted models of faults.py, `streams_dir` the recordings they may replay.
    """

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            raise ValueError(f"the demo gateway speaks HTTP only, not {scope['type']}")
        request = wire.Request()
        try:
            route(scope)
            authorise(scope, key)
            if scope["method"] == "GET":
                script = Script([Raw(catalogue.listing())], content_type=JSON)
            else:
                body = await read_body(receive)
                if body is None:
                    return
                request = parse(body)
                script = script_for(request, body)
        except RequestError as exc:
            script = exc.script
        drop = await while_connected(receive, respond(script, request, send))
        if drop:
            close_connection(send, drop.reset)

    def script_for(request: wire.Request, body: bytes) -> Script:
        script = catalogue.script_for(request)
        if script is None and faults:
            try:
                script = scripted.script_for(request, body, streams_dir)
            except scripted.ScriptError as exc:
                raise refusal(400, str(exc), param="model") from exc
        return script or catalogue.refuse("not_found", request)

    return app


def route(scope: Scope) -> None:
    """Raise RequestError unless the address exists and takes the method."""
    allowed = {f"{PREFIX}/models": "GET", f"{PREFIX}/chat/completions": "POST"}.get(scope["path"])
    if allowed is None:
        raise refusal(404, f"Invalid URL ({scope['method']} {scope['path']})")
    if scope["method"] != allowed:
        message = f"Not allowed to {scope['method']} on {scope['path']}."
        raise refusal(
            405,
            message,
            code="method_not_supported",
            headers=((b"allow", allowed.encode()),),
        )


def authorise(scope: Scope, key: str) -> None:
    """Raise RequestError without the one right `Authorization: Bearer` key."""
    given = b"".join(value for name, value in scope["headers"] if name == b"authorization")
    scheme, _, token = given.partition(b" ")
    if scheme.lower() != b"bearer" or not token.strip():
        raise refusal(401, "No API key was sent: use 'Authorization: Bearer <key>'.")
    if not hmac.compare_digest(token.strip(), key.encode()):
        raise refusal(401, "Incorrect API key provided.", code="invalid_api_key")


async def read_body(receive: Receive) -> bytes | None:
    """The request's body, None if the client left; RequestError above MAX_REQUEST_BYTES."""
    parts = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        parts.append(message.get("body", b""))
        size += len(parts[-1])
        if size > MAX_REQUEST_BYTES:
            raise refusal(413, f"The request body is larger than {MAX_REQUEST_BYTES} bytes.")
        if not message.get("more_body", False):
            return b"".join(parts)


def parse(body: bytes) -> wire.Request:
    """The request; raises RequestError when it is not one."""
    try:
        request = msgspec.json.decode(body, type=wire.Request)
    except msgspec.ValidationError as exc:
        raise refusal(400, f"Invalid request: {exc}", code="invalid_type") from exc
    except (msgspec.DecodeError, UnicodeDecodeError) as exc:
        raise refusal(400, "We could not parse the JSON body of your request.") from exc
    if not request.model:
        raise refusal(400, "you must provide a model parameter", param="model")
    if not request.messages:
        raise refusal(
            400,
            "Missing required parameter: 'messages'.",
            param="messages",
            code="missing_required_parameter",
        )
    return request


def refusal(
    status: int,
    message: str,
    param: str | None = None,
    code: str | None = None,
    headers: tuple[tuple[bytes, bytes], ...] = (),
) -> RequestError:
    body = wire.error(message, "invalid_request_error", param, code)
    return RequestError(Script([Raw(body)], status, JSON, headers))


async def while_connected(receive: Receive, work: Coroutine[Any, Any, T]) -> T | None:
    """Do the work; when the client leaves first, cancel it and return None."""
    working = asyncio.create_task(work)
    leaving = asyncio.create_task(disconnected(receive))
    try:
        await asyncio.wait((working, leaving), return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in (working, leaving):
            task.cancel()
        await asyncio.gather(working, leaving, return_exceptions=True)
    return None if working.cancelled() else working.result()


async def disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def respond(script: Script, request: wire.Request, send: Send) -> Drop | None:
    """Play the script to the client; the Drop that it ended with."""
    if not request.stream:
        script = whole(script, request)
    started = False

    async def write(body: bytes, more_body: bool = True) -> None:
        nonlocal started
        if not started:
            started = True
            await send({"type": "http.response.start", **head(script)})
        await send({"type": "http.response.body", "body": body, "more_body": more_body})

    drop = await play(script, request, write)
    if drop is None:
        await write(b"", more_body=False)
    return drop


def head(script: Script) -> dict[str, Any]:
    headers = [
        (b"content-type", script.content_type),
        (b"cache-control", b"no-store"),
        (b"content-security-policy", b"default-src 'none'"),
        (b"x-content-type-options", b"nosniff"),
        (b"x-request-id", b"req_" + uuid.uuid4().hex.encode()),
        *script.headers,
    ]
    return {"status": script.status, "headers": headers}


def close_connection(send: Send, reset: bool) -> None:
    """Close the client's connection although the body is unfinished.

    ASGI has no message for that. Other servers do it when an application returns early; Daphne
    leaves the connection open, but its `send` is a partial over the Twisted request.
    """
    if isinstance(send, partial) and hasattr(send.args[0], "loseConnection"):
        twisted_request = send.args[0]
        if reset:
            twisted_request.transport.abortConnection()
        else:
            twisted_request.loseConnection()
