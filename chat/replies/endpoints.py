"""A gateway's row as the client takes it."""

from chat.models import Gateway
from chat.models.secrets import Unsealable
from chat.upstream.client import Endpoint
from chat.upstream.errors import GatewayError


def endpoint_of(gateway: Gateway) -> Endpoint:
    """Raises GatewayError where its key can't be unsealed."""
    try:
        key = gateway.key
    except Unsealable as exc:
        raise GatewayError("auth", reason="sealed") from exc
    return Endpoint(
        slug=gateway.slug,
        base_url=gateway.base_url,
        key=key,
        headers=gateway.headers,
        include_usage=gateway.takes_include_usage,
        allow_private=gateway.allows_private,
        refused={model: tuple(p) for model, p in (gateway.refused_parameters or {}).items()},
    )


def note_taught(gateway: Gateway, endpoint: Endpoint, model: str) -> None:
    """Keep what an endpoint of the gateway has learned since it was made."""
    if gateway.takes_include_usage and not endpoint.include_usage:
        Gateway.objects.filter(pk=gateway.pk).update(takes_include_usage=False)
    refused = endpoint.refused.get(model, ())
    if list(refused) != (gateway.refused_parameters or {}).get(model, []):
        gateway.note_refused(model, refused)
