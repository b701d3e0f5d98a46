"""Which models each gateway serves and what is left on it, as it says itself."""

import asyncio
import logging

from chat.models import Gateway
from chat.upstream.client import Client, Endpoint
from chat.upstream.errors import GatewayError

from .database import in_database
from .endpoints import endpoint_of

logger = logging.getLogger(__name__)


async def list_models(client: Client, only: int | None = None) -> None:
    """Ask every gateway at once, or only one; one that doesn't answer keeps the list it had."""
    gateways = await in_database(_usable)(only)
    await asyncio.gather(*(_list(client, gateway) for gateway in gateways))


async def list_models_of(client: Client, gateway: Gateway, endpoint: Endpoint) -> None:
    """Take over one gateway's list; raises GatewayError."""
    found = await client.models(endpoint)
    await in_database(gateway.replace_models)([model.id for model in found])


async def _list(client: Client, gateway: Gateway) -> None:
    try:
        endpoint = endpoint_of(gateway)
        await list_models_of(client, gateway, endpoint)
    except GatewayError as error:
        logger.warning("Gateway %s doesn't list its models: %s", gateway.slug, error)
        await in_database(gateway.note_listing_failure)(as_fields(error))
        return
    try:
        await in_database(gateway.note_balance)(await client.balance(endpoint))
    except GatewayError as error:
        logger.warning("Gateway %s doesn't tell its balance: %s", gateway.slug, error)


def as_fields(error: GatewayError) -> dict[str, str | int | None]:
    """What is kept of an error, to be told in the language of whoever looks."""
    return {
        "kind": error.kind,
        "reason": error.reason,
        "status": error.status,
        "message": error.message,
    }


def _usable(only: int | None) -> list[Gateway]:
    usable = Gateway.objects.usable()
    return list(usable if only is None else usable.filter(pk=only))
