"""httpx over aiohttp's connections: one pool, no proxy from the environment, no cookies."""

import ipaddress
import socket
import ssl
from functools import cache
from http.cookiejar import CookieJar, DefaultCookiePolicy

import aiohttp
import httpx
from httpx_aiohttp import AiohttpTransport
from httpx_aiohttp.transport import AiohttpResponseStream

from chat.upstream.errors import GatewayError

TRANSPORT_ERRORS = (httpx.HTTPError, httpx.InvalidURL, aiohttp.ClientError, OSError)
KEEPALIVE_S = 15
_READ_BYTES = 64 * 1024


class Transport(AiohttpTransport):
    """httpx's way into aiohttp; a response's body is in its extensions as aiohttp has it.

    A live stream comes an event a read, and httpx's iterators around it would cost more than that.
    """

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        response = await super().handle_async_request(request)
        assert isinstance(response.stream, AiohttpResponseStream)
        response.extensions["content"] = response.stream._aiohttp_response.content
        return response


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
        transport=Transport(verify=_certificates(), client=open_session),
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
    if not is_public(place[0]):
        raise ForbiddenAddressError("not a public address")
    return socket.socket(family, kind, proto)


def is_public(address: str) -> bool:
    """Whether this numeric address is one of the open internet's."""
    ip = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(ip, ipaddress.IPv4Address):
        return ip.is_global and not ip.is_multicast and not any(ip in net for net in _INSIDE)
    # What a translator or a tunnel would make an IPv4 address of is judged as that.
    inner = ip.ipv4_mapped or ip.sixtofour or (ip.teredo[1] if ip.teredo else None)
    if ip in _NAT64:
        inner = ipaddress.IPv4Address(int(ip) & 0xFFFF_FFFF)
    return is_public(str(inner)) if inner else ip in _UNICAST and ip.is_global


# Registered as public, but inside of a cloud: Azure's host agent; Oracle's metadata.
_INSIDE = (ipaddress.ip_network("168.63.129.16/32"), ipaddress.ip_network("192.0.0.0/24"))
_NAT64 = ipaddress.ip_network("64:ff9b::/96")
_UNICAST = ipaddress.ip_network("2000::/3")
