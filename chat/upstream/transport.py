"""httpx over aiohttp's connections: one pool, no proxy from the environment, no cookies."""

import ipaddress
import socket
import ssl
from functools import cache
from http.cookiejar import CookieJar, DefaultCookiePolicy

import aiohttp
import httpx
from httpx_aiohttp import AiohttpTransport

from chat.upstream.errors import GatewayError

TRANSPORT_ERRORS = (httpx.HTTPError, httpx.InvalidURL, aiohttp.ClientError, OSError)
KEEPALIVE_S = 15
_READ_BYTES = 64 * 1024


class ForbiddenAddressError(OSError):
    """The address is not a public one."""


def open_client(
    max_connections: int, connect_s: float, *, allow_private: bool
) -> httpx.AsyncClient:
    """A client that keeps every connection within its limits; only for the loop that first uses it.

    Deadlines after the connect are the caller's: httpx's read timeout starts anew with each byte.
    """

    def open_session() -> aiohttp.ClientSession:
        return aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                limit=max_connections,
                ssl=_certificates(),
                keepalive_timeout=KEEPALIVE_S,
                socket_factory=None if allow_private else _open_public_socket,
            ),
            cookie_jar=aiohttp.DummyCookieJar(),
            read_bufsize=_READ_BYTES,
            trust_env=False,
        )

    return httpx.AsyncClient(
        transport=AiohttpTransport(verify=_certificates(), client=open_session),
        timeout=httpx.Timeout(None, connect=connect_s, pool=connect_s),
        cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),
        follow_redirects=False,
        trust_env=False,
    )


@cache
def _certificates() -> ssl.SSLContext:
    """certifi's, or those of SSL_CERT_FILE and SSL_CERT_DIR; 50 ms to load."""
    return httpx.create_ssl_context()


def translate(exc: Exception) -> GatewayError:
    """What a failed exchange means; the exception's own words are for the log alone."""
    for cause in _causes(exc):
        if isinstance(cause, ForbiddenAddressError):
            return GatewayError("connection", reason="forbidden")
        if isinstance(cause, ssl.SSLError | ssl.CertificateError):
            return GatewayError("connection", reason="tls")
        if isinstance(cause, socket.gaierror):
            return GatewayError("connection", reason="dns")
        if isinstance(cause, aiohttp.ServerTimeoutError):
            return GatewayError("timeout", reason="connect")
        if isinstance(cause, aiohttp.ClientConnectorError):
            return GatewayError("connection", reason="refused")
        if isinstance(cause, aiohttp.ClientResponseError):
            return GatewayError("protocol", reason="http")
        # A ValueError (IDNA's are) is a host name or a header that can't be sent.
        if isinstance(cause, httpx.InvalidURL | httpx.UnsupportedProtocol | ValueError):
            return GatewayError("connection", reason="url")
    return GatewayError("connection", reason="dropped")


def _causes(exc: BaseException | None) -> list[BaseException]:
    """The exception's chain, the deepest cause first."""
    chain: list[BaseException] = []
    while exc and exc not in chain:
        chain.insert(0, exc)
        exc = exc.__cause__ or exc.__context__
    return chain


def _open_public_socket(address: aiohttp.AddrInfoType) -> socket.socket:
    """Checked where the connection is made, so that no name can resolve its way past it."""
    family, kind, proto, _, place = address
    if not ipaddress.ip_address(place[0].partition("%")[0]).is_global:
        raise ForbiddenAddressError("not a public address")
    return socket.socket(family, kind, proto)
