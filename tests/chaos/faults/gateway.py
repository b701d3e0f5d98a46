"""The gateway misbehaves."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.chaos import replies
from tests.chaos.faults.registry import (
    fault,
)
from tests.chaos.world import IDLE_S

if TYPE_CHECKING:
    from tests.chaos.replies import Reply
    from tests.chaos.rounds import Round


@fault("the gateway misbehaves", "gateway", "D7", "D6", gateway_ends=True)
async def misbehave(r: Round) -> object:
    """Two of the streams end badly by their scripts; this waits until they have."""
    bad = [reply for reply in r.replies if reply.end not in replies.GOOD]

    def struck() -> bool:
        return all(_has_struck(reply) for reply in bad)

    await r.world.clock.until(struck, 15)
    return any(_has_struck(reply) for reply in bad)


def _has_struck(reply: Reply) -> bool:
    if not reply.calls:
        return False
    call = reply.calls[-1]
    if reply.end == "hang":
        whole = len(call.text) >= sum(map(len, reply.text))
        return whole and (call.closed_by_client or IDLE_S > 0)
    return call._answered.is_set() or call.closed_by_client
