"""A gateway's row as the client takes it."""

from chat.models import Gateway
from chat.upstream.client import Endpoint


def endpoint_of(gateway: Gateway) -> Endpoint:
    return Endpoint(
        slug=gateway.slug,
        base_url=gateway.base_url,
        key=gateway.key,
        include_usage=gateway.takes_include_usage,
    )
