"""What lies between the page and the server, and pages that come and go."""

from __future__ import annotations

import asyncio
import random
import signal
from typing import TYPE_CHECKING

from tests.chaos.faults.registry import (
    come_back,
    fault,
    nap,
    scaled,
)

if TYPE_CHECKING:
    from tests.chaos.rounds import Round, Watched

WINDOW_CHARS = 256 * 1024
LARGEST_FRAME_CHARS = 128 * 1024


@fault("network cut", "network", "D3")
async def cut(r: Round) -> object:
    r.world.proxy.is_refusing = True
    cut = r.world.proxy.cut()
    await nap(r, 0, 4)
    r.world.proxy.is_refusing = False
    await come_back(r)
    return cut


@fault("network cut again and again", "network", "D3")
async def flap(r: Round) -> object:
    cut = 0
    for _ in range(r.rng.randint(3, 8)):
        cut += r.world.proxy.cut()
        await nap(r, 0, 0.8)
    await come_back(r)
    return cut


@fault("network frozen", "network", "D3")
async def freeze(r: Round) -> object:
    frozen = r.world.proxy.freeze()
    # Past 8 s a page has given the connection up.
    await nap(r, *r.rng.choice([(0.5, 3), (8.2, 11)]))
    r.world.proxy.thaw()
    await come_back(r)
    return frozen


@fault("nginx restarted", "network", "D3", form="scaled")
async def restart_nginx(r: Round) -> object:
    nginx = scaled(r).nginx
    pid = nginx.pid
    await asyncio.to_thread(nginx.kill, signal.SIGTERM)
    await nap(r, 0, 3)
    await asyncio.to_thread(nginx.start)
    await come_back(r)
    return nginx.pid != pid


@fault("nginx reloaded", "network", "D3", form="scaled")
async def reload_nginx(r: Round) -> object:
    """As after a change of its configuration: open sockets stay with the workers of before."""
    nginx = scaled(r).nginx
    before = nginx.children
    nginx.send(signal.SIGHUP)
    await nap(r, 0.5, 2)
    await come_back(r)
    return set(nginx.children) - set(before)


@fault("network slow", "network", "D3")
async def slow(r: Round) -> object:
    r.world.proxy.bytes_per_s = r.rng.uniform(1500, 30_000)
    await nap(r, 2, 5)
    r.world.proxy.bytes_per_s = None
    # What was on its way at that pace has to arrive first.
    await asyncio.sleep(0.5)
    await come_back(r)
    return r.world.proxy.connections


@fault("reload storm", "network", "D3")
async def reload(r: Round) -> object:
    rng = random.Random(r.rng.random())

    async def storm(tab: Watched) -> None:
        for _ in range(rng.randint(3, 8)):
            await tab.page.reload()
            await asyncio.sleep(rng.uniform(0, 0.3))

    opens = sum(tab.page.opens for tab in r.tabs)
    await asyncio.gather(*map(storm, list(r.tabs)))
    await come_back(r)
    return sum(tab.page.opens for tab in r.tabs) > opens


@fault("50 reconnects", "network", "D3")
async def reconnect(r: Round) -> object:
    tab = r.rng.choice(r.tabs)
    lost = 0
    for _ in range(50):
        if tab.page.connection == "live":
            tab.page.reconnect()
            lost += 1
        await asyncio.sleep(0.05)
        tab.page.hurry()
    await come_back(r)
    return lost >= 10


@fault("a reader that never acknowledges", "reader", "D3")
async def mute(r: Round) -> object:
    """It is sent a window of text and no more; once it speaks, it gets all the rest."""
    reply = await r.ask(r.world.people["owner"], words=6_000, seconds=7, end="stop", shape="p")
    page = await r.watch(reply, acknowledges=False)
    await r.world.clock.until(lambda: page.received_chars > WINDOW_CHARS, 12)
    full = page.received_chars
    await nap(r, 1, 2)
    # What fills the window may be as big as all that came meanwhile; after it, nothing but beats.
    if page.received_chars > full + LARGEST_FRAME_CHARS:
        r.breaks("D3", f"{page.received_chars} characters went to a reader that is silent")
    await page.speak()
    return full > WINDOW_CHARS
