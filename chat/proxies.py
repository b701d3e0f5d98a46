"""Who really asks: what proxies say of the client, believed of trusted ones only."""

import ipaddress
import socket
import time
from collections.abc import Callable
from functools import lru_cache

from django.conf import settings
from django.http import HttpRequest, HttpResponse

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
RESOLVED_FOR_S = 30
FORWARDED = (
    "HTTP_X_FORWARDED_FOR",
    "HTTP_X_FORWARDED_PROTO",
    "HTTP_X_FORWARDED_HOST",
    "HTTP_X_REQUEST_ID",
)


def behind_proxies(
    get_response: Callable[[HttpRequest], HttpResponse],
) -> Callable[..., HttpResponse]:
    """Make REMOTE_ADDR the client's; a header that no trusted proxy set is taken off."""

    def middleware(request: HttpRequest) -> HttpResponse:
        if is_trusted(request.META.get("REMOTE_ADDR", "")):
            request.META["REMOTE_ADDR"] = client_of(request.META)
        else:
            for name in FORWARDED:
                request.META.pop(name, None)
        return get_response(request)

    return middleware


def client_of(meta: dict[str, str]) -> str:
    """The last address of the chain that no proxy of ours has: those before it anybody can write."""
    chain = [meta.get("REMOTE_ADDR", "")]
    for told in reversed(meta.get("HTTP_X_FORWARDED_FOR", "").split(",")):
        if not is_trusted(chain[-1]) or _address(told.strip()) is None:
            break
        chain.append(told.strip())
    return chain[-1]


def is_trusted(address: str) -> bool:
    """`unix`, listed, stands for a proxy at a socket file, which has no address."""
    ip = _address(address)
    if ip is None:
        return "unix" in settings.TRUSTED_PROXIES
    return any(ip in network for network in _networks(int(time.monotonic() // RESOLVED_FOR_S)))


@lru_cache(maxsize=1)
def _networks(_age: int) -> tuple[Network, ...]:
    """TRUSTED_PROXIES: addresses, networks, and names, which may move."""
    found: list[Network] = []
    for each in settings.TRUSTED_PROXIES:
        try:
            found.append(ipaddress.ip_network(each, strict=False))
        except ValueError:
            found += [ipaddress.ip_network(address) for address in _resolved(each)]
    return tuple(found)


def _resolved(name: str) -> set[str]:
    try:
        return {str(info[4][0]) for info in socket.getaddrinfo(name, None)}
    except OSError:
        return set()


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        ip = ipaddress.ip_address(text)
    except ValueError:
        return None
    mapped = getattr(ip, "ipv4_mapped", None)
    return mapped or ip
