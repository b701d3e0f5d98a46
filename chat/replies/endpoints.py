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
    )
