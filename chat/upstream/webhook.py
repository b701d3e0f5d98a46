"""One JSON document to an address that somebody else runs, over the transport that gateways have."""

import asyncio
from urllib.parse import urlsplit

from chat.upstream.errors import GatewayError
from chat.upstream.transport import TRANSPORT_ERRORS, open_client, translate

WITHIN_S = 10.0
_CONNECT_S = 5.0


async def post(url: str, document: bytes, *, allow_private: bool) -> None:
    """Raises GatewayError for anything but a 2xx answer, of which nothing is read.

    Over plain http only where private addresses are allowed.
    """
    schemes = ("https", "http") if allow_private else ("https",)
    if urlsplit(url).scheme not in schemes:
        raise GatewayError("connection", reason="url")
    client = open_client(1, _CONNECT_S, allow_private=allow_private)
    headers = {"Content-Type": "application/json", "User-Agent": "Potok"}
    try:
        async with asyncio.timeout(WITHIN_S):
            request = client.build_request("POST", url, headers=headers, content=document)
            response = await client.send(request, stream=True)
            await response.aclose()
    except TimeoutError as exc:
        raise GatewayError("timeout", reason="total") from exc
    except (*TRANSPORT_ERRORS, ValueError) as exc:
        raise translate(exc) from exc
    finally:
        await client.aclose()
    if not 200 <= response.status_code < 300:
        raise GatewayError("server", status=response.status_code)
