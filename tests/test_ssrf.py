"""Addresses that a gateway may not lead to, in every disguise, judged where the connection is made."""

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chat.upstream.client import Client, Endpoint
from chat.upstream.errors import GatewayError
from chat.upstream.transport import is_public
from tests.raw_server import Server, response, serving

LIST = response(200, {"Content-Type": "application/json"}, b'{"data": [{"id": "m"}]}')

# Each leads to this machine, however it is written.
REACHED = [
    "127.0.0.1",
    "localhost",
    "0x7f000001",
    "0x7f.1",
    "[::ffff:127.0.0.1]",
    "[::ffff:7f00:1]",
    "0.0.0.0",
]
# These are taken for no host at all.
MALFORMED = [
    "127.1",
    "127.0.0.1.",
    "2130706433",
    "017700000001",
    "0177.0.0.1",
    "public.example@127.0.0.1",
    "public.example:443@127.0.0.1",
    "public.example%2f@127.0.0.1",
    "127.0.0.1\\@public.example",
]


async def ask(url: str, allow_private: bool) -> object:
    client = Client()
    try:
        return await client.models(Endpoint("a", url, "sk-1", allow_private=allow_private))
    except GatewayError as error:
        return error
    finally:
        await client.aclose()


def at(host: str, server: Server) -> str:
    port = server.base_url.rpartition(":")[2]
    return f"http://{host}:{port}"


@pytest.mark.parametrize("host", REACHED)
async def test_this_machine_is_refused_in_every_disguise(host: str) -> None:
    async with serving(LIST) as server:
        error = await ask(at(host, server), allow_private=False)
        assert isinstance(error, GatewayError)
        assert (error.kind, error.reason) == ("connection", "forbidden")
        assert server.connections == 0
        # For what it is, and not for how it is written.
        assert not isinstance(await ask(at(host, server), allow_private=True), GatewayError)


@pytest.mark.parametrize("host", MALFORMED)
async def test_what_is_no_host_is_not_connected_to(host: str) -> None:
    async with serving(LIST) as server:
        error = await ask(at(host, server), allow_private=True)
        assert isinstance(error, GatewayError)
        assert (error.kind, error.reason) == ("connection", "url")
        assert server.connections == 0


async def test_what_is_refused_to_one_gateway_is_not_reached_over_anothers_connection() -> None:
    """Connections are pooled, and one that was allowed must not serve whom it isn't."""
    async with serving(LIST, keep_alive=True) as server:
        client = Client()
        try:
            allowed = Endpoint("a", server.base_url, allow_private=True)
            assert await client.models(allowed)
            with pytest.raises(GatewayError) as caught:
                await client.models(Endpoint("b", server.base_url, allow_private=False))
            assert caught.value.reason == "forbidden"
        finally:
            await client.aclose()


async def test_a_redirect_leads_nowhere() -> None:
    async with serving(LIST) as goal:
        moved = response(307, {"Location": f"{goal.base_url}/models"}, b"")
        async with serving(moved) as server:
            error = await ask(server.base_url, allow_private=True)
            assert isinstance(error, GatewayError)
            assert (error.kind, error.reason) == ("protocol", "redirect")
            assert goal.connections == 0


@pytest.mark.parametrize("scheme", ["file", "ftp", "gopher", "unix", "ws", "data", ""])
async def test_only_http_is_spoken(scheme: str) -> None:
    async with serving(LIST) as server:
        port = server.base_url.split(":")[2]
        error = await ask(f"{scheme}://127.0.0.1:{port}", allow_private=True)
        assert isinstance(error, GatewayError)
        assert (error.kind, error.reason) == ("connection", "url")
        assert server.connections == 0


@pytest.mark.parametrize(
    "address",
    [
        "0.0.0.0",
        "10.1.2.3",
        "100.64.0.1",  # carrier-grade NAT, Alibaba's metadata
        "100.100.100.200",
        "127.0.0.1",
        "127.255.255.254",
        "168.63.129.16",
        "169.254.169.254",
        "172.16.0.1",
        "192.0.0.192",
        "192.168.1.1",
        "198.18.0.1",
        "224.0.0.1",
        "240.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "::7f00:1",
        "::ffff:10.0.0.1",
        "::ffff:169.254.169.254",
        "64:ff9b::a9fe:a9fe",
        "64:ff9b:1::1",
        "2002:7f00:1::",
        "2002:a9fe:a9fe::1",
        "2001:0:4136:e378:8000:63bf:5601:5601",  # a tunnel to 169.254.169.254
        "fc00::1",
        "fd00:ec2::254",
        "fe80::1",
        "fe80::1%eth0",
        "fec0::1",
        "ff02::1",
        "2001:db8::1",
    ],
)
def test_an_address_inside_is_not_public(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize(
    "address",
    ["8.8.8.8", "1.1.1.1", "2606:4700:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808"],
)
def test_an_address_outside_is_public(address: str) -> None:
    assert is_public(address)


@given(st.ip_addresses(v=4))
def test_an_ipv4_address_is_judged_alike_in_every_dress(address: ipaddress.IPv4Address) -> None:
    low, high = int(address) & 0xFFFF, int(address) >> 16
    dresses = [f"::ffff:{address}", f"64:ff9b::{high:x}:{low:x}", f"2002:{high:x}:{low:x}::"]
    assert {is_public(dress) for dress in dresses} == {is_public(str(address))}


@given(st.ip_addresses())
def test_what_is_private_is_never_public(
    address: ipaddress.IPv4Address | ipaddress.IPv6Address,
) -> None:
    inside = address.is_private or address.is_loopback or address.is_link_local
    if inside or address.is_multicast or address.is_unspecified:
        mapped = isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped
        assert mapped or not is_public(str(address))
