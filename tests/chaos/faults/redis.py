"""Redis goes away, freezes or forgets; the rows stand in for it."""

from __future__ import annotations

import asyncio
import signal
from typing import TYPE_CHECKING

from tests.chaos.faults.registry import come_back, fault, has_ended, nap, scaled

if TYPE_CHECKING:
    from tests.chaos.rounds import Round, Watched

IN_VIEW_WITHIN_S = 3.0


@fault("Redis killed, and back without its data", "redis", "D8", "D3", form="scaled")
async def kill(r: Round) -> object:
    redis = scaled(r).redis
    pid = redis.pid
    await asyncio.to_thread(redis.kill)
    return await _away(r) and await _start(r) != pid


@fault("Redis restarted with its data", "redis", "D8", "D3", form="scaled")
async def restart(r: Round) -> object:
    redis = scaled(r).redis
    pid = redis.pid
    await asyncio.to_thread(redis.client.save)
    await asyncio.to_thread(redis.kill, signal.SIGTERM)
    return await _away(r) and await _start(r) != pid


@fault("Redis frozen", "redis", "D8", "D3", form="scaled")
async def freeze(r: Round) -> object:
    redis = scaled(r).redis
    redis.send(signal.SIGSTOP)
    await _away(r)
    redis.send(signal.SIGCONT)
    await _is_back(r)
    return True


@fault("Redis emptied", "redis", "D8", "D3", form="scaled")
async def empty(r: Round) -> object:
    """It runs on, and knows nothing of what it was told."""
    redis = scaled(r).redis
    had = redis.client.dbsize()
    _nothing_is_lost(r)
    redis.client.flushall()
    await nap(r, 0.2, 1)
    await _is_back(r)
    return had


async def _away(r: Round) -> bool:
    """For a while; what is asked is that text goes on in view, 3 s later at the latest."""
    _nothing_is_lost(r)
    seconds = r.rng.choice([0.1, r.rng.uniform(0.5, 3), r.rng.uniform(4, 6)])
    await asyncio.sleep(min(seconds, IN_VIEW_WITHIN_S))
    if seconds > IN_VIEW_WITHIN_S and not r.has("network", "process", "command"):
        await _goes_on(r)
        await asyncio.sleep(max(0.0, seconds - IN_VIEW_WITHIN_S - 1))
    return True


async def _goes_on(r: Round) -> None:
    """A page has what was sent until now within a second: rows are a quarter of one behind."""
    due = {
        id(tab): tuple(map(len, tab.reply.sent))
        for tab in r.tabs
        if r.is_running(tab.reply) and not has_ended(tab.reply)
    }

    def late() -> list[Watched]:
        return [
            tab
            for tab in r.tabs
            if id(tab) in due and not tab.page.has(tab.reply.message, *due[id(tab)])
        ]

    if await r.world.clock.until(lambda: not late(), 1.5) is None:
        for tab in late():
            r.breaks("D8", f"{tab.reply.token} stands still in view while Redis is away")


def _nothing_is_lost(r: Round) -> None:
    """What was seen until now is in the row in the end."""
    until = r.world.clock.now - (0.5 if r.has("process") else 0.0)
    for tab in r.tabs:
        tab.reply.must_have(*tab.page.seen_until(tab.reply.message, until), "D8")


async def _start(r: Round) -> int:
    redis = scaled(r).redis
    await asyncio.to_thread(redis.start)
    await _is_back(r)
    return redis.pid


async def _is_back(r: Round) -> None:
    await come_back(r, "D8")
