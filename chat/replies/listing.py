"""Which models each gateway serves, as it says itself."""

import asyncio
import logging

from chat.models import Gateway
from chat.upstream.client import Client, Endpoint
from chat.upstream.errors import GatewayError

from .database import in_database
from .endpoints import endpoint_of

logger = logging.getLogger(__name__)


async def list_models(client: Client) -> None:
    """Ask every gateway at once; one that doesn't answer keeps the list it had."""
    gateways = await in_database(_usable)()
    await asyncio.gather(*(_list(client, gateway) for gateway in gateways))


async def list_models_of(client: Client, gateway: Gateway, endpoint: Endpoint) -> None:
    """Take over one gateway's list; raises GatewayError."""
    found = await client.models(endpoint)
    await in_database(gateway.replace_models)([model.id for model in found])


async def _list(client: Client, gateway: Gateway) -> None:
    try:
        await list_models_of(client, gateway, endpoint_of(gateway))
    except GatewayError as error:
        logger.warning("Gateway %s doesn't list its models: %s", gateway.slug, error)
        await in_database(gateway.note_listing_error)(str(error))


def _usable() -> list[Gateway]:
    return list(Gateway.objects.usable())
