"""The time of day jumps, on each machine by itself."""

from __future__ import annotations

import asyncio
import re
import time
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING

import httpx

from tests.chaos.clock import WallClock
from tests.chaos.faults.registry import fault, nap, send
from tests.server import get

if TYPE_CHECKING:
    from tests.chaos.rounds import Round

HOUR_S = 3600


@fault("clocks jump", "clock", "D11", "D3", "D6")
async def jump(r: Round) -> object:
    """Apart and back again; what is asked behind a running reply stays behind it."""
    world = r.world
    clocks = [world.clock_of(server) for server in world.servers]
    if any(clock.library is None for clock in clocks):
        return False  # no libfaketime
    first = r.rng.choice(r.there)
    late = r.prepare(first.person, seconds=1.5, words=40)
    late.conversation = first.conversation
    try:
        for clock in clocks:
            clock.jump(r.rng.choice([-26, -1, 1, 26]) * HOUR_S + r.rng.randint(0, 1000))
        await asyncio.sleep(WallClock.SEEN_WITHIN_S + 0.2)
        is_seen = await _is_off(r)
        await nap(r, 0, 1)
        for clock in clocks:
            clock.jump(r.rng.choice([-HOUR_S, 0, 7 * HOUR_S]))
        fields = {"text": late.question, "client_key": late.token}
        await send(late.person, f"/c/{late.conversation}/messages/", fields)
        await r.identify(late)
        await r.watch(late)
        r.orders.append((first, late))
        await nap(r, 1, 3)
    finally:
        for clock in clocks:
            clock.jump(0)
    return is_seen


async def _is_off(r: Round) -> bool:
    """By what a process says of when a cookie of a year ends."""
    server = r.world.server
    if not server.is_running:
        return True  # a fault of another group has struck it meanwhile
    try:
        answer = await asyncio.to_thread(get, f"{server.url}/login/")
    except httpx.TransportError:
        return True
    if answer.status_code >= 500:
        return True  # one has taken its database
    cookie = answer.headers["Set-Cookie"]
    expires = re.search("expires=([^;]*)", cookie, re.IGNORECASE)[1]
    year_s = int(re.search("Max-Age=([0-9]+)", cookie)[1])
    off_s = parsedate_to_datetime(expires).timestamp() - year_s - time.time()
    return abs(off_s - r.world.clock_of(server).offset_s) < 60
