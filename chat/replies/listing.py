"""Which models each gateway serves and what is left on it, as it says itself."""

import asyncio
import logging
from collections.abc import Collection, Sequence

from django.db import transaction

from chat.models import Gateway, LanguageModel, Listed, Price
from chat.models.gateways import MAX_MODEL_NAME
from chat.upstream.client import Client, Endpoint
from chat.upstream.errors import GatewayError
from chat.upstream.listing import ModelInfo

from .database import in_database
from .endpoints import endpoint_of

logger = logging.getLogger(__name__)


async def list_models(client: Client, only: Collection[int] | None = None) -> set[int]:
    """Ask every gateway at once, or these; returns those that didn't answer and keep their lists."""
    gateways = await in_database(_usable)(only)
    answers = await asyncio.gather(*(_list(client, gateway) for gateway in gateways))
    return {
        gateway.pk for gateway, is_listed in zip(gateways, answers, strict=True) if not is_listed
    }


async def list_models_of(client: Client, gateway: Gateway, endpoint: Endpoint) -> None:
    """Take over one gateway's list; raises GatewayError."""
    found = await client.models(endpoint)
    await in_database(take_over)(gateway, found)


@transaction.atomic
def take_over(gateway: Gateway, found: Sequence[ModelInfo]) -> None:
    """Make the rows say what the gateway says of its models now, and of their prices."""
    # One process at a time; and it may have been deleted while it was asked.
    if Gateway.objects.select_for_update().filter(pk=gateway.pk).first() is None:
        return
    listed = [_listed(model) for model in found if len(model.id) <= MAX_MODEL_NAME]
    gateway.replace_models([each.name for each in listed])
    described = {each.name: each for each in listed}
    capabilities = {model.id: list(model.capabilities) for model in found}
    rows = list(gateway.language_models.filter(name__in=described))
    for row in rows:
        row.label = described[row.name].label
        row.context_tokens = described[row.name].context_tokens
        row.capabilities = capabilities[row.name]
    LanguageModel.objects.bulk_update(rows, ["label", "context_tokens", "capabilities"], 500)
    Price.take_over(gateway, listed)


def _listed(model: ModelInfo) -> Listed:
    return Listed(
        name=model.id,
        label=model.name if model.name != model.id else "",
        context_tokens=model.context_tokens,
        prompt=model.prompt_price,
        cached=model.cached_price,
        completion=model.completion_price,
        currency=model.currency or "",
    )


async def _list(client: Client, gateway: Gateway) -> bool:
    try:
        endpoint = endpoint_of(gateway)
        await list_models_of(client, gateway, endpoint)
    except GatewayError as error:
        logger.warning("Gateway %s doesn't list its models: %s", gateway.slug, error)
        await in_database(gateway.note_listing_failure)(as_fields(error))
        return False
    try:
        await in_database(gateway.note_balance)(await client.balance(endpoint))
    except GatewayError as error:
        logger.warning("Gateway %s doesn't tell its balance: %s", gateway.slug, error)
    return True


def as_fields(error: GatewayError) -> dict[str, str | int | None]:
    """What is kept of an error, to be told in the language of whoever looks."""
    return {
        "kind": error.kind,
        "reason": error.reason,
        "status": error.status,
        "message": error.message,
    }


def _usable(only: Collection[int] | None) -> list[Gateway]:
    usable = Gateway.objects.usable()
    return list(usable if only is None else usable.filter(pk__in=only))
