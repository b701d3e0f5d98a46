"""The database is locked, or its disk is full."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from tests.chaos.faults.registry import (
    fault,
    has_ended,
)

if TYPE_CHECKING:
    from tests.chaos.rounds import Round, Watched


@fault("database locked", "database", "D9", "D3")
async def lock(r: Round) -> object:
    with r.world.locked():
        if not r.world.is_locked:
            return False
        await _without_database(r, r.rng.uniform(0.3, 4))
    return True


@fault("database locked for long", "database", "D9", "D3", outlasts=True)
async def lock_for_long(r: Round) -> object:
    with r.world.locked():
        if not r.world.is_locked:
            return False
        await _without_database(r, r.rng.uniform(5.6, 8))
    return True


@fault("disk full", "database", "D9", "D3")
async def fill(r: Round) -> object:
    """Of a disk of our own; nothing is proved where there is none (tmpfs takes root)."""
    if not r.world.is_small_disk:
        return False
    with r.world.full():
        if r.world.free_bytes:
            return False
        await _without_database(r, r.rng.uniform(0.3, 7))
    return True


async def _without_database(r: Round, seconds: float) -> None:
    """Replies go on in view, their pages say within 5 s that they aren't saved, and none is lost."""
    watched = [
        tab
        for tab in r.tabs
        if r.is_running(tab.reply) and not r.has("network") and not tab.reply.is_gone
    ]
    before = {id(tab): _shown(tab) for tab in watched}
    sent = {id(tab): sum(map(len, tab.reply.sent)) for tab in watched}
    opens = {id(tab): tab.page.opens for tab in watched}
    began = r.world.clock.now
    await asyncio.sleep(seconds)
    lasted_s = r.world.clock.now - began
    for tab in watched:
        reply = tab.reply
        went_on = sum(map(len, reply.sent)) > sent[id(tab)] + 50
        if lasted_s > 1 and went_on and _shown(tab) == before[id(tab)]:
            r.breaks("D9", f"{reply.token} did not go on in view while the database was away")
        lasts = tab.page.shown.status_of(reply.message) == "streaming" and not has_ended(reply)
        if lasts and lasted_s > 5.2 and reply.message not in tab.page.unsaved_at:
            r.breaks("D9", f"{reply.token} is not saved for {lasted_s:.1f} s, and nobody was told")
        if tab.page.opens != opens[id(tab)] and not r.has("command"):
            r.breaks("D9", f"a page of {reply.token} lost its socket while the database was away")


def _shown(tab: Watched) -> tuple[int, int]:
    return tab.page.seen[tab.reply.message][-1][:2]
