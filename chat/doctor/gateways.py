"""Each enabled gateway: does its key open, does it list models, what time is it there."""

import asyncio
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from chat.models import Gateway
from chat.rendering import diagnosis
from chat.replies.endpoints import endpoint_of
from chat.upstream.client import Client
from chat.upstream.errors import GatewayError

from .finding import Finding, error, ok, warning

WITHIN_S = 10.0
DEMO = "demo"


@dataclass(frozen=True)
class Answer:
    gateway: Gateway
    models: int = 0
    error: GatewayError | None = None
    # How far its clock is ahead of ours; None if it doesn't tell.
    clock_offset_s: float | None = None


def ask(is_running: bool) -> list[Answer]:
    """What every enabled gateway says, all at once; the demo only where Potok itself runs."""
    gateways = [
        gateway for gateway in Gateway.objects.usable() if is_running or gateway.slug != DEMO
    ]
    return asyncio.run(_ask_all(gateways))


def judge(answers: Sequence[Answer]) -> Iterator[Finding]:
    if not Gateway.objects.usable().exists():
        yield error(
            "gateways",
            _("No gateway is switched on, so nothing can be asked."),
            _("Set a key, such as AITUNNEL_API_KEY, or add a gateway under /admin/."),
        )
    elif not Gateway.objects.usable().exclude(slug=DEMO).exists():
        yield warning(
            "gateways",
            _("Only the built-in demo answers."),
            _("Set a key, such as AITUNNEL_API_KEY, or add a gateway under /admin/."),
        )
    for answer in answers:
        yield _judge(answer)


def _judge(answer: Answer) -> Finding:
    name, gateway = f"gateway {answer.gateway.slug}", answer.gateway
    if answer.error:
        why = diagnosis.of(answer.error)
        return error(
            name,
            f"{gateway.name}: {why}",
            _("Set its key and address in the environment, and start again.")
            if gateway.is_from_environment
            else _("Mend it under /admin/chat/gateway/%(id)d/.") % {"id": gateway.pk},
        )
    if not answer.models:
        return warning(
            name,
            _("%(gateway)s answers, but lists no models.") % {"gateway": gateway.name},
            _("Type a model's name, or see what the key is allowed to use."),
        )
    listed = ngettext("%(n)d model", "%(n)d models", answer.models) % {"n": answer.models}
    return ok(name, f"{gateway.name}: {listed}.")


async def _ask_all(gateways: Sequence[Gateway]) -> list[Answer]:
    client = Client()
    try:
        return await asyncio.gather(*(_ask(client, gateway) for gateway in gateways))
    finally:
        await client.aclose()


async def _ask(client: Client, gateway: Gateway) -> Answer:
    try:
        endpoint = endpoint_of(gateway)
        async with asyncio.timeout(WITHIN_S):
            models = await client.models(endpoint)
            began = time.time()
            date = await client.clock(endpoint)
    except TimeoutError:
        return Answer(gateway, error=GatewayError("timeout", reason="total"))
    except GatewayError as exc:
        return Answer(gateway, error=exc)
    offset = None if date is None else date.timestamp() - (began + time.time()) / 2
    return Answer(gateway, len(models), clock_offset_s=offset)
