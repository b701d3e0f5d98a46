"""The server's half of `manage.py doctor`: says what of a request arrives behind the proxy.

Two plain ASGI applications, below Django, so that no middleware refuses what is to be told. Whoever
doesn't know SECRET_KEY meets nothing here. Facts are {"peer", "is_trusted", "host", "proto",
"forwarded_for", "is_secure", "drains", "open_files"}; a header that didn't arrive is null.
"""

import asyncio
import json
import resource
from collections.abc import Awaitable, Callable
from typing import Any

from django.core.handlers.asgi import ASGIRequest
from django.core.signing import BadSignature, TimestampSigner

from chat.proxies import is_trusted
from chat.replies.process import process

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]

HTTP_PATH, SOCKET_PATH = "/doctor", "/ws/doctor/"
# What is sent in two pieces comes in two pieces, unless somebody in between collects it.
PAUSE_S = 1.0
# A socket is silent for 5 s at most, between two heartbeats.
SILENCE_S = 6.0
_VALID_S = 300
_signer = TimestampSigner(salt="potok.doctor")


def pass_word() -> str:
    """What the doctor shows to be let in."""
    return f"Bearer {_signer.sign('doctor')}"


async def answer(scope: Scope, _receive: Receive, send: Send) -> None:
    """GET: a line of facts, a pause, another line."""
    if not _is_doctor(scope):
        await send({"type": "http.response.start", "status": 404, "headers": []})
        await send({"type": "http.response.body"})
        return
    # Called HTML, as that is what proxies compress, and thereby hold back, before all else.
    headers = [(b"content-type", b"text/html"), (b"cache-control", b"no-store")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    facts = json.dumps(_facts(scope)).encode()
    await send({"type": "http.response.body", "body": facts + b"\n", "more_body": True})
    await asyncio.sleep(PAUSE_S)
    await send({"type": "http.response.body", "body": b"{}\n"})


async def watch(scope: Scope, receive: Receive, send: Send) -> None:
    """A socket: a frame, as long a silence as a page's socket may keep, another frame."""
    await receive()
    if not _is_doctor(scope):
        await send({"type": "websocket.close"})
        return
    await send({"type": "websocket.accept"})
    await send({"type": "websocket.send", "text": "facts"})
    leaving = asyncio.ensure_future(receive())
    await asyncio.wait([leaving], timeout=SILENCE_S)
    if leaving.done():
        return
    leaving.cancel()
    await send({"type": "websocket.send", "text": "beat"})
    await send({"type": "websocket.close", "code": 1000})


def _is_doctor(scope: Scope) -> bool:
    said = dict(scope["headers"]).get(b"authorization", b"").decode("latin1")
    try:
        return _signer.unsign(said.removeprefix("Bearer "), max_age=_VALID_S) == "doctor"
    except BadSignature:
        return False


def _facts(scope: Scope) -> dict[str, Any]:
    headers = {name: value.decode("latin1") for name, value in scope["headers"]}
    peer = (scope.get("client") or [""])[0]
    return {
        "peer": peer or "unix",
        "is_trusted": is_trusted(peer),
        "host": headers.get(b"host"),
        "proto": headers.get(b"x-forwarded-proto"),
        "forwarded_for": headers.get(b"x-forwarded-for"),
        # As behind the middleware that takes off what an untrusted one says.
        "is_secure": is_trusted(peer) and ASGIRequest(scope, None).is_secure(),
        "drains": process.drains,
        "open_files": resource.getrlimit(resource.RLIMIT_NOFILE)[0],
    }
