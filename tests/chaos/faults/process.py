"""The one process of the embedded form is killed, or asked to end; peers.py has those of several."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Awaitable, Callable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING

import httpx

from tests.chaos.faults.registry import (
    allow,
    come_back,
    fault,
    nap,
)
from tests.chaos.world import DRAIN_S

if TYPE_CHECKING:
    from tests.chaos.page import Page
    from tests.chaos.rounds import Round


async def _kill(r: Round, past_sockets: Mapping[Page, int] = MappingProxyType({})) -> int:
    """SIGKILL; what its readers saw half a second before has to be in the row.

    past_sockets: how many sockets each page had to earlier processes; what came through them, and
    may still come when that process is gone, was theirs to save.
    """
    pid = r.world.server.pid
    allow(r, "interrupted", "crash")
    moment = r.world.clock.now
    await asyncio.to_thread(r.world.server.kill)
    for tab in r.tabs:
        past = past_sockets.get(tab.page, 0)
        tab.reply.must_have(*tab.page.seen_until(tab.reply.message, moment - 0.5, past))
    assert not r.world.server.is_running
    return pid


@fault("SIGKILL", "process", "D1", "D3", "D6", form="embedded")
async def kill(r: Round) -> object:
    pid = await _kill(r)
    await nap(r, 0, 1.5)
    await _start(r, "D1")
    return pid


async def _start(r: Round, promise: str) -> None:
    was_streaming = {
        row[0] for row in r.world.rows("SELECT id FROM chat_generation WHERE status = 'streaming'")
    }
    await asyncio.to_thread(r.world.server.start)
    await come_back(r)

    def left() -> set[int]:
        rows = r.world.rows("SELECT id FROM chat_generation WHERE status = 'streaming'")
        return {row[0] for row in rows} & was_streaming

    if await r.world.clock.until(lambda: not left(), 15) is None:
        r.breaks(promise, f"generations {left()} of a dead process still stream after 15 s")


@fault("SIGKILL twice", "process", "D1", "D3", "D6", form="embedded")
async def kill_twice(r: Round) -> object:
    """The second one while it starts, or soon after."""
    pid = await _kill(r)
    sockets = {tab.page: tab.page.opens for tab in r.tabs}
    r.world.server.launch()
    await nap(r, 0, 2.5)
    await _kill(r, sockets)
    await _start(r, "D1")
    return pid


@fault("SIGTERM", "process", "D2", "D3", "D6", form="embedded")
async def terminate(r: Round) -> object:
    server, clock = r.world.server, r.world.clock
    allow(r, "interrupted", "restart")
    live = [tab for tab in r.tabs if tab.page.connection == "live"]
    closes = {id(tab): len(tab.page.closes) for tab in live}
    pid = server.pid
    server.signal(signal.SIGTERM)
    began = clock.now
    probing = asyncio.create_task(_probe_drain(r))
    if not await clock.until(lambda: not server.is_running, DRAIN_S + 5):
        r.breaks("D2", f"{DRAIN_S + 5:g} s after SIGTERM the process still runs")
        await asyncio.to_thread(server.kill)
    took_s = clock.now - began
    if code := server.wait(1):
        r.breaks("D2", f"the process ended with {code} after {took_s:.1f} s")
    await probing
    await asyncio.sleep(0.2)
    if not r.has("network"):
        for tab in live:
            codes = [code for _, code in tab.page.closes[closes[id(tab)] :]]
            if codes[:1] != [1012] and tab.page.connection not in ("over", "gone"):
                r.breaks("D2", f"a page was closed with {codes or 'nothing'}, not 1012")
    await nap(r, 0, 1)
    await _start(r, "D2")
    return pid


async def _probe_drain(r: Round) -> None:
    """From a second after SIGTERM at the latest, sends are refused; once refused, always."""
    person, refused, began = r.world.people["owner"], False, r.world.clock.now
    while r.world.server.is_running:
        is_due = refused or r.world.clock.now - began > 1.0
        try:
            answer = await person.post("/messages/", text="")  # empty: 422, were it taken
        except httpx.TransportError:
            return
        if answer.status_code == 503:
            refused = True
            if not answer.headers.get("Retry-After"):
                r.breaks("D2", "a send was refused without Retry-After")
        elif is_due:
            r.breaks("D2", f"a send during the drain was answered {answer.status_code}")
            return
        await asyncio.sleep(0.1)


@fault("SIGKILL while locked", "process", "D1", "D3", "D6", "D9", form="embedded")
async def kill_locked(r: Round) -> object:
    """What nobody could save is lost, but nothing else: the row stays a prefix, the end comes."""
    with r.world.locked():
        await nap(r, 0.3, 3)
        for reply in r.replies:
            reply.allowed.add(("interrupted", "crash"))
        await asyncio.to_thread(r.world.server.kill)
        # The next one starts into the lock.
        r.world.server.launch()
        await nap(r, 0.5, 3)
    await r.world.clock.until(_answers(r), 30)
    await _start_over(r)
    return True


def _answers(r: Round) -> Callable[[], Awaitable[bool]]:
    async def answers() -> bool:
        try:
            return (await r.world.people["owner"].http.get("/healthz")).status_code == 200
        except httpx.TransportError:
            return False

    return answers


async def _start_over(r: Round) -> None:
    if not r.world.server.is_running:
        r.breaks("D9", "the server did not come up while the database was locked for a while")
        await asyncio.to_thread(r.world.server.start)
    await come_back(r)


@fault("SIGTERM while locked", "process", "D2", "D9", form="embedded")
async def terminate_locked(r: Round) -> object:
    server, clock = r.world.server, r.world.clock
    allow(r, "interrupted", "restart")
    allow(r, "interrupted", "crash")  # it had to end before it could write
    with r.world.locked():
        await nap(r, 0.1, 2)
        server.signal(signal.SIGTERM)
        seconds = r.rng.uniform(0.5, DRAIN_S + 6)
        if seconds > DRAIN_S + 5:
            ended = await clock.until(lambda: not server.is_running, DRAIN_S + 5)
            if not ended:
                r.breaks("D2", f"{DRAIN_S + 5:g} s after SIGTERM under a lock it still runs")
        else:
            await asyncio.sleep(seconds)
    if not await clock.until(lambda: not server.is_running, DRAIN_S + 5):
        r.breaks("D2", "the process still runs though the lock is gone")
        await asyncio.to_thread(server.kill)
    await _start(r, "D2")
    return True
