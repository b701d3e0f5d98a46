"""The true figure of a call that was estimated, where its gateway tells it afterwards."""

import asyncio
import logging
from collections.abc import Sequence

from chat.models import Call
from chat.models.calls import CallEnd
from chat.upstream.client import Client, Endpoint
from chat.upstream.errors import GatewayError

from .attempt import reported
from .database import in_database

logger = logging.getLogger(__name__)
# A gateway writes its record some time after the call has ended.
WAITS_S = (3.0, 15.0, 60.0)


async def correct(
    client: Client, endpoint: Endpoint, end: CallEnd, waits_s: Sequence[float] = WAITS_S
) -> None:
    """Ask for it some times, and put it in the place of the estimate; without it that stands."""
    for wait_s in waits_s:
        await asyncio.sleep(wait_s)
        try:
            usage = await client.generation_usage(endpoint, end.request_id)
        except GatewayError as error:
            logger.info("Call %d has no record at its gateway yet: %s", end.call, error)
            continue
        if usage is not None:
            await in_database(Call.correct)(CallEnd(end.call, **reported(usage)))
        return
