"""A process of several is killed, frozen or asked to end, and the others carry on."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import httpx

from tests.chaos.faults.registry import allow, come_back, fault, nap, scaled
from tests.chaos.world import DRAIN_S, LEASE_S

if TYPE_CHECKING:
    from tests.chaos.rounds import Round, Watched
    from tests.server import Server

# A sweeper counts a standing heartbeat at its own looks, of which one may just have passed.
NOTICED_WITHIN_S = LEASE_S + 4
STREAMING = "SELECT id, owner, heartbeat FROM chat_generation WHERE status = 'streaming'"


# --- killed -----------------------------------------------------------------------------------


@fault("SIGKILL of a worker", "process", "D1", "D6", "D8", form="scaled")
async def kill_worker(r: Round) -> object:
    return await _kill(r, [r.rng.choice(scaled(r).workers)])


@fault("SIGKILL of all workers", "process", "D1", "D6", "D8", form="scaled")
async def kill_workers(r: Round) -> object:
    return await _kill(r, scaled(r).workers)


@fault("SIGKILL of a web process", "process", "D1", "D8", form="scaled")
async def kill_web(r: Round) -> object:
    return await _kill(r, [r.rng.choice(scaled(r).web)])


@fault("SIGKILL of all processes", "process", "D1", "D6", "D8", form="scaled")
async def kill_all(r: Round) -> object:
    return await _kill(r, scaled(r).servers)


async def _kill(r: Round, victims: Sequence[Server]) -> object:
    world = scaled(r)
    workers = [server for server in victims if server in world.workers]
    pulses = _pulses(r)
    moment = r.world.clock.now
    for server in victims:
        server.signal(signal.SIGKILL)
    if workers:
        allow(r, "interrupted", "crash")
        # What came through Redis is there still, as long as Redis is.
        until = moment - 0.5 if r.has("redis") else moment
        for tab in r.tabs:
            tab.reply.must_have(*tab.page.seen_until(tab.reply.message, until))
    for server in victims:
        await asyncio.to_thread(server.kill)
    assert not any(server.is_running for server in victims)
    is_served = any(server.is_running for server in world.web)
    if is_served:
        await come_back(r, "D8")
    if workers and is_served:
        await _is_noticed(r, pulses, len(workers))
    await nap(r, 0, 1)
    await _start(r, victims)
    if workers and not is_served:
        await _is_noticed(r, pulses, len(workers))
    return True


def _pulses(r: Round) -> dict[int, tuple[str, int]]:
    return {pk: (owner, beats) for pk, owner, beats in r.world.rows(STREAMING)}


async def _is_noticed(r: Round, before: dict[int, tuple[str, int]], dead: int) -> None:
    """What the dead ran ends, and nothing else does."""

    def still() -> list[int]:
        now = _pulses(r)
        return [pk for pk, pulse in before.items() if now.get(pk) == pulse]

    if await r.world.clock.until(lambda: not still(), NOTICED_WITHIN_S, 0.2) is None:
        r.breaks("D8", f"generations {still()} of a dead worker run {NOTICED_WITHIN_S:g} s later")
    crashed = r.world.rows(
        "SELECT id FROM chat_generation WHERE error_kind = 'crash' AND status = 'interrupted'"
    )
    owners = {before[pk][0] for (pk,) in crashed if pk in before}
    if len(owners) > dead:
        r.breaks("D8", f"{dead} workers died, and replies of {len(owners)} were given up")


async def _start(r: Round, servers: Sequence[Server]) -> None:
    scaled(r).launch(*[server for server in servers if not server.is_running])
    await asyncio.to_thread(scaled(r).wait_up, servers)
    await come_back(r, "D8")


# --- asked to end -----------------------------------------------------------------------------


@fault("SIGTERM of a worker", "process", "D2", "D6", form="scaled")
async def end_worker(r: Round) -> object:
    allow(r, "interrupted", "restart")
    server = r.rng.choice(scaled(r).workers)
    await _end(r, server)
    await nap(r, 0, 1)
    await _start(r, [server])
    return True


@fault("SIGTERM of a web process", "process", "D2", "D3", form="scaled")
async def end_web(r: Round) -> object:
    server = r.rng.choice(scaled(r).web)
    await _end_web(r, server)
    await nap(r, 0, 1)
    await _start(r, [server])
    return True


@fault("all restarted, one by one", "process", "D2", "D3", "D12", form="scaled", outlasts=True)
async def roll(r: Round) -> object:
    """As a new version is installed: somebody serves at every moment."""
    allow(r, "interrupted", "restart")
    for server in scaled(r).servers:
        if server in scaled(r).web:
            await _end_web(r, server)
        else:
            await _end(r, server)
        await _start(r, [server])
    return True


async def _end_web(r: Round, server: Server) -> None:
    closes = [(tab, len(tab.page.closes)) for tab in r.tabs]
    probing = asyncio.create_task(_probe_drain(r, server))
    await _end(r, server)
    await probing
    await asyncio.sleep(0.2)
    if not r.has("network"):
        for tab, before in closes:
            codes = {code for _, code in tab.page.closes[before:]}
            if codes - {1012}:
                r.breaks("D2", f"pages were closed with {codes}, not 1012")
    await come_back(r)


async def _end(r: Round, server: Server) -> None:
    name, clock = server.data_dir.name, r.world.clock
    began = clock.now
    server.signal(signal.SIGTERM)
    if not await clock.until(lambda: not server.is_running, DRAIN_S + 5):
        r.breaks("D2", f"{DRAIN_S + 5:g} s after SIGTERM {name} still runs")
        await asyncio.to_thread(server.kill)
    if code := server.wait(1):
        r.breaks("D2", f"{name} ended with {code} after {clock.now - began:.1f} s")


async def _probe_drain(r: Round, server: Server) -> None:
    """Of the process itself, past nginx: a second after SIGTERM at the latest it takes no send."""
    person, began = r.world.people["owner"], r.world.clock.now
    token = person.client.cookies["csrftoken"]
    origin = {"Origin": server.url}
    async with httpx.AsyncClient(
        base_url=server.url,
        cookies=person.client.cookies,
        headers=origin,
        trust_env=False,
        verify=False,
    ) as straight:
        refused = False
        while server.is_running:
            is_due = refused or r.world.clock.now - began > 1.0
            try:
                # Without a text: 422, were it taken.
                answer = await straight.post("/messages/", data={"csrfmiddlewaretoken": token})
            except httpx.TransportError:
                return
            refused = refused or answer.status_code == 503
            if answer.status_code == 503 and not answer.headers.get("Retry-After"):
                r.breaks("D2", "a send was refused without Retry-After")
            if is_due and answer.status_code != 503:
                r.breaks("D2", f"a send during the drain was answered {answer.status_code}")
                return
            await asyncio.sleep(0.1)


# --- frozen -----------------------------------------------------------------------------------


@fault("a worker frozen for a moment", "process", "D8", form="scaled")
async def freeze_worker(r: Round) -> object:
    """Within its lease: nothing is given up."""
    server = r.rng.choice(scaled(r).workers)
    with _frozen(server):
        await nap(r, 0.1, LEASE_S / 2)
    return server.is_running


@fault("a worker frozen past its lease", "process", "D1", "D8", "D11", form="scaled", outlasts=True)
async def freeze_worker_for_long(r: Round) -> object:
    """Its replies are given up, and once it wakes it writes to none of them any more."""
    allow(r, "interrupted", "crash")
    server = r.rng.choice(scaled(r).workers)
    pulses = _pulses(r)
    moment = r.world.clock.now
    with _frozen(server):
        await nap(r, 0.3, 0.8)
        # What came through Redis is there still, as long as Redis is.
        until = moment - 0.5 if r.has("redis") else r.world.clock.now
        for tab in r.tabs:
            tab.reply.must_have(*tab.page.seen_until(tab.reply.message, until))
        await _is_noticed(r, pulses, 1)
        await nap(r, 0.3, 1)
        before = _given_up(r)
    await nap(r, 1, 2)
    after = _given_up(r)
    for pk, row in before.items():
        if after.get(pk) != row:
            r.breaks("D8", f"message {pk} was written to by an owner that had lost it")
    return server.is_running


def _given_up(r: Round) -> dict[int, tuple[Any, ...]]:
    query = (
        "SELECT m.id, m.text, m.reasoning, m.status, g.fence, g.status FROM chat_message m"
        " JOIN chat_generation g ON m.generation_id = g.id WHERE g.error_kind = 'crash'"
    )
    return {pk: tuple(row) for pk, *row in r.world.rows(query)}


@fault("a web process frozen", "process", "D3", "D8", form="scaled")
async def freeze_web(r: Round) -> object:
    """Its pages find another after 8 s of silence; each is right once it wakes."""
    server = r.rng.choice(scaled(r).web)
    with _frozen(server):
        frozen = await nap(r, *r.rng.choice([(0.5, 3), (11, 12)]))
        if frozen > 10 and not r.has("network", "command"):
            await _all_live(r)
    await come_back(r, "D8")
    return server.is_running


async def _all_live(r: Round) -> None:
    def lost() -> list[Watched]:
        return [tab for tab in r.tabs if tab.page.connection in ("connecting", "offline")]

    if await r.world.clock.until(lambda: not lost(), 3) is None:
        r.breaks("D8", f"{len(lost())} pages don't find past a frozen web process")


class _frozen:  # noqa: N801  (read as a verb)
    def __init__(self, server: Server) -> None:
        self._server = server

    def __enter__(self) -> None:
        self._server.signal(signal.SIGSTOP)

    def __exit__(self, *exc: object) -> None:
        self._server.signal(signal.SIGCONT)
