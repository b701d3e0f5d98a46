"""What stands between a browser and Potok, asked at POTOK_URL's own addresses."""

import asyncio
import json
import ssl
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import urlsplit

import aiohttp
from django.conf import settings
from django.utils.translation import gettext as _

from .finding import Finding, error, ok, warning
from .probe import HTTP_PATH, PAUSE_S, SILENCE_S, SOCKET_PATH, pass_word

WITHIN_S = 5.0
# No proxy sets these by itself, so what arrives with them was passed on from a client.
MARK_PROTO, MARK_FOR = "doctor", "203.0.113.77"
LEAST_OPEN_FILES = 4096
_FAILURES = (aiohttp.ClientError, OSError, TimeoutError, ValueError)


@dataclass
class Visit:
    """What came of asking one address; `unreached` says why nothing did."""

    origin: str
    unreached: str = ""
    health: int | None = None
    facts: dict[str, Any] = field(default_factory=dict)
    refused: int | None = None
    streams: bool | None = None
    # The HTTP status that a socket was answered with, or for how long an open one lasted.
    socket_status: int | None = None
    socket_lasted_s: float = 0.0

    @property
    def is_potok(self) -> bool:
        return self.health == 200


def visit_all() -> tuple[bool, list[Visit]]:
    """Whether Potok answers where it listens on this machine, and what each public address said."""
    return asyncio.run(_visit_all())


async def _visit_all() -> tuple[bool, list[Visit]]:
    async with aiohttp.ClientSession(trust_env=False) as session:
        at_home = Visit(settings.LOCAL_URL)
        visits = [Visit(origin) for origin in settings.ORIGINS]
        await asyncio.gather(_knock(session, at_home), *(_visit(session, each) for each in visits))
    return at_home.is_potok or any(each.is_potok for each in visits), visits


async def _visit(session: aiohttp.ClientSession, visit: Visit) -> None:
    await _knock(session, visit)
    if visit.is_potok:
        await asyncio.gather(_stream(session, visit), _socket(session, visit))


async def _knock(session: aiohttp.ClientSession, visit: Visit) -> None:
    try:
        async with asyncio.timeout(WITHIN_S):
            async with session.get(f"{visit.origin}/healthz", allow_redirects=False) as response:
                body = await response.content.read(64)
        visit.health = response.status
        if response.status == 200 and body.strip() != b"ok":
            visit.health = 0
    except _FAILURES as exc:
        visit.unreached = _why(exc)


async def _stream(session: aiohttp.ClientSession, visit: Visit) -> None:
    headers = {
        "Authorization": pass_word(),
        "X-Forwarded-Proto": MARK_PROTO,
        "X-Forwarded-For": MARK_FOR,
        "Accept-Encoding": "gzip",
    }
    address = f"{visit.origin}{HTTP_PATH}"
    try:
        async with asyncio.timeout(WITHIN_S + PAUSE_S):
            async with session.get(address, headers=headers, allow_redirects=False) as response:
                if response.status != 200:
                    visit.refused = response.status
                    return
                visit.facts = json.loads(await response.content.readline())
                first_at = time.monotonic()
                await response.content.readline()
                visit.streams = time.monotonic() - first_at > PAUSE_S / 2
    except _FAILURES as exc:
        visit.unreached = _why(exc)


async def _socket(session: aiohttp.ClientSession, visit: Visit) -> None:
    address = f"ws{visit.origin.removeprefix('http')}{SOCKET_PATH}"
    headers = {"Authorization": pass_word()}
    try:
        async with asyncio.timeout(WITHIN_S + SILENCE_S):
            async with session.ws_connect(address, origin=visit.origin, headers=headers) as ws:
                opened_at = time.monotonic()
                frames = [each.data async for each in ws]
                visit.socket_lasted_s = time.monotonic() - opened_at
        visit.socket_status = 101 if "beat" in frames else None
    except aiohttp.WSServerHandshakeError as exc:
        visit.socket_status = exc.status
    except _FAILURES:
        visit.socket_status = None


def _why(exc: Exception) -> str:
    causes = [exc, exc.__cause__, getattr(exc, "os_error", None)]
    if any(isinstance(each, ssl.SSLError | ssl.CertificateError) for each in causes):
        return _("its TLS certificate is not valid")
    if isinstance(exc, aiohttp.ClientConnectorDNSError):
        return _("there is no host of this name")
    if isinstance(exc, TimeoutError):
        return _("it doesn't answer in time")
    if isinstance(exc, aiohttp.ClientConnectorError):
        return _("nothing answers there")
    return _("the connection broke")


# --- what that means ------------------------------------------------------------------------------


def judge(is_running: bool, visits: list[Visit]) -> Iterator[Finding]:
    if not is_running and all(visit.health is None for visit in visits):
        yield warning(
            "running",
            _("Potok doesn't run here, so its addresses could not be tried."),
            _("Start it, then ask the doctor again."),
        )
        return
    for visit in visits:
        for found in _judge(visit):
            # Which of several it is about; the first line names it by itself.
            whose = "" if len(visits) == 1 or found.name == "address" else f"{visit.origin}: "
            yield replace(found, sentence=f"{whose}{found.sentence}")


def _judge(visit: Visit) -> Iterator[Finding]:
    reach = _reach(visit)
    yield reach
    if reach.level == "error":
        return
    yield _server(visit)
    yield _headers(visit)
    yield _upgrade(visit)
    yield _buffering(visit)


def _reach(visit: Visit) -> Finding:
    where = {"address": visit.origin}
    if visit.unreached:
        return error(
            "address",
            _("%(address)s is not reached from here: %(why)s.")
            % (where | {"why": visit.unreached}),
            _("Mend DNS, the proxy or its certificate, or POTOK_URL."),
        )
    if visit.health in (502, 503, 504):
        return error(
            "address",
            _("At %(address)s a proxy answers, but doesn't reach Potok (%(status)d).")
            % (where | {"status": visit.health}),
            _("Have it lead to HOST and PORT of a Potok that runs."),
        )
    if not visit.is_potok:
        return error(
            "address",
            _("At %(address)s something other than Potok answers.") % where,
            _("Have the proxy lead this address to Potok, or mend POTOK_URL."),
        )
    if visit.refused:
        return error(
            "address",
            _("At %(address)s another Potok answers: one of another version or SECRET_KEY.")
            % where,
            _("Run the doctor under the same environment as the server, after a restart of that."),
        )
    return ok("address", _("%(address)s leads to Potok.") % where)


def _server(visit: Visit) -> Finding:
    if not visit.facts["drains"]:
        return warning(
            "server",
            _("Potok runs under a server that ends without letting replies finish."),
            _("Start it as `python manage.py serve`."),
        )
    if visit.facts["open_files"] < LEAST_OPEN_FILES:
        return warning(
            "server",
            _("The server may open %(n)d files, and each open page takes one.")
            % {"n": visit.facts["open_files"]},
            _("Set LimitNOFILE=65536 in its unit, or `ulimit -n 65536` before it starts."),
        )
    return ok("server", _("Potok's own server runs, and lets replies finish before it ends."))


def _headers(visit: Visit) -> Finding:
    facts, origin = visit.facts, urlsplit(visit.origin)
    proto, host = facts["proto"], (facts["host"] or "").lower()
    if host != origin.netloc.lower():
        return error(
            "headers",
            _("Host arrives as %(host)s, not as %(wanted)s.")
            % {"host": host or "—", "wanted": origin.netloc},
            _("Have the proxy pass Host as it came (nginx: proxy_set_header Host $http_host)."),
        )
    if facts["is_trusted"] and proto and MARK_PROTO in proto:
        return error(
            "headers",
            _("A client's own X-Forwarded-Proto reaches Potok, which believes it."),
            _("Have the proxy set it itself, or leave TRUSTED_PROXIES empty where there is none."),
        )
    if facts["is_trusted"] and (facts["forwarded_for"] or "").split(",")[-1].strip() == MARK_FOR:
        return warning(
            "headers",
            _("A client's own X-Forwarded-For reaches Potok."),
            _("Have the proxy set it (nginx: proxy_set_header X-Forwarded-For $remote_addr)."),
        )
    peer = {"peer": facts["peer"]}
    if origin.scheme == "https" and not facts["is_trusted"]:
        return error(
            "headers",
            _("Potok takes https for http, as it doesn't trust its proxy."),
            _("Set TRUSTED_PROXIES=%(peer)s.") % peer,
        )
    if origin.scheme == "https" and not facts["is_secure"]:
        return error(
            "headers",
            _("Potok takes https for http: X-Forwarded-Proto arrives as %(proto)s.")
            % {"proto": proto or "—"},
            _("Have the proxy set it (nginx: proxy_set_header X-Forwarded-Proto $scheme)."),
        )
    if settings.TRUSTED_PROXIES and not facts["is_trusted"]:
        return warning(
            "headers",
            _("Requests come from %(peer)s, which TRUSTED_PROXIES doesn't name.") % peer,
            _("Set TRUSTED_PROXIES=%(peer)s if that is your proxy.") % peer,
        )
    return ok("headers", _("Scheme and host arrive as they were sent."))


def _upgrade(visit: Visit) -> Finding:
    if visit.socket_status == 101:
        return ok("websocket", _("Sockets open, and stay open while nothing is said."))
    if visit.socket_status is None and visit.socket_lasted_s:
        return error(
            "websocket",
            _("A socket is cut after %(s).0f s of silence; pages would reconnect for ever.")
            % {"s": visit.socket_lasted_s},
            _("Raise the proxy's timeout to 60 s (nginx: proxy_read_timeout 60s)."),
        )
    return error(
        "websocket",
        _("Sockets don't open (%(status)s), so pages show no reply while it grows.")
        % {"status": visit.socket_status or "—"},
        _("Have the proxy pass Upgrade and Connection, as docs/deploy/nginx.conf does."),
    )


def _buffering(visit: Visit) -> Finding:
    if visit.streams:
        return ok("stream", _("What is sent bit by bit arrives bit by bit."))
    return warning(
        "stream",
        _("The proxy collects an answer before it passes it on."),
        _("Switch that off (nginx: proxy_buffering off)."),
    )
