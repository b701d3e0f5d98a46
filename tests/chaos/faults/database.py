"""The database is locked, or its disk is full."""

from __future__ import annotations

import asyncio
import signal
from typing import TYPE_CHECKING

from tests.chaos.faults.registry import (
    fault,
    has_ended,
    scaled,
)

if TYPE_CHECKING:
    from tests.chaos.rounds import Round, Watched


@fault("database locked", "database", "D9", "D3")
async def lock(r: Round) -> object:
    with r.world.locked() as is_so:
        if is_so:
            await _without_database(r, r.rng.uniform(0.3, 4))
    return is_so


@fault("database locked for long", "database", "D9", "D3", outlasts=True)
async def lock_for_long(r: Round) -> object:
    with r.world.locked() as is_so:
        if is_so:
            await _without_database(r, r.rng.uniform(5.6, 8))
    return is_so


@fault("disk full", "database", "D9", "D3", form="embedded")
async def fill(r: Round) -> object:
    """Of a disk of our own; nothing is proved where there is none (tmpfs takes root)."""
    with r.world.full() as is_so:
        if is_so:
            await _without_database(r, r.rng.uniform(0.3, 7))
    return is_so


# --- PostgreSQL -------------------------------------------------------------------------------


@fault("PostgreSQL's disk full", "database", "D9", "D3", form="scaled")
async def fill_postgresql(r: Round) -> object:
    """It may stop for that; an operator who made room starts it again."""
    world = scaled(r)
    with world.full() as is_so:
        if is_so:
            await _without_database(r, r.rng.uniform(0.5, 7))
    # It stops at the end of a recovery that finds no room, which may take it a while.
    await asyncio.sleep(1)
    if not world.postgresql.is_running:
        await asyncio.to_thread(world.postgresql.start)
    await _saved_again(r)
    return is_so


@fault("PostgreSQL restarted", "database", "D9", "D3", form="scaled")
async def restart(r: Round) -> object:
    """Fast: every connection is ended, and nothing else."""
    pid = scaled(r).postgresql.pid
    await asyncio.to_thread(scaled(r).postgresql.kill, signal.SIGINT)
    return await _start_postgresql(r, pid)


@fault("PostgreSQL killed", "database", "D9", "D3", form="scaled")
async def kill(r: Round) -> object:
    pid = scaled(r).postgresql.pid
    scaled(r).postgresql.send_all(signal.SIGKILL)
    await asyncio.to_thread(scaled(r).postgresql.kill)
    return await _start_postgresql(r, pid)


async def _start_postgresql(r: Round, pid: int) -> object:
    postgresql = scaled(r).postgresql
    assert not postgresql.is_running
    await _without_database(r, r.rng.choice([0.1, r.rng.uniform(0.5, 4), r.rng.uniform(5.6, 7)]))
    await asyncio.to_thread(postgresql.start)
    await _saved_again(r)
    return postgresql.pid != pid


@fault("PostgreSQL frozen", "database", "D9", "D3", form="scaled")
async def freeze(r: Round) -> object:
    """Its connections stay, and nothing is answered."""
    postgresql = scaled(r).postgresql
    postgresql.send_all(signal.SIGSTOP)
    await _without_database(r, r.rng.uniform(0.5, 7))
    postgresql.send_all(signal.SIGCONT)
    await _saved_again(r)
    return True


async def _saved_again(r: Round) -> None:
    """Everything is saved once it is back: pages need no reload, and nothing says 'not saved yet'."""
    if r.has("command", "clock"):
        return

    def unsaved() -> list[Watched]:
        shown = (tab.page.shown.article(tab.reply.message) for tab in r.tabs)
        pairs = zip(r.tabs, shown, strict=True)
        return [tab for tab, article in pairs if article and article.get("data-saved") == "false"]

    if await r.world.clock.until(lambda: not unsaved(), 5) is None:
        r.breaks("D9", f"5 s after the database is back {len(unsaved())} pages say 'not saved yet'")


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
