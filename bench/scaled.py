"""What the scaled form costs beside the embedded one: the same replies, processor time a delta.

    python -m bench.scaled

Two web processes, two workers, PostgreSQL and Redis, all on this machine. A core's throughput is a
million over the microseconds that a delta takes of all of them together.
"""

import asyncio
import tempfile
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager, closing
from pathlib import Path

import uvloop

from bench._gateway import Gateway
from bench._measure import cpu_s, line, title
from bench._pages import Page
from bench._site import PATIENT, SLOTS, open_site, with_static
from bench._speech import at_a_rate, end
from tests.server import WORKER_IS_READY, Client, Server
from tests.services import PostgreSQL, RedisServer, Service

STREAMS, RATE, SECONDS = 40, 50, 10
LOST_PERCENT = 35


@asynccontextmanager
async def open_cluster(
    gateway: Gateway,
) -> AsyncIterator[tuple[list[Client], list[Server], list[Service]]]:
    """(a login on each web process, the four processes, the two services)."""
    address = await gateway.listen()
    with (
        closing(PostgreSQL()) as postgresql,
        closing(RedisServer()) as redis,
        tempfile.TemporaryDirectory(prefix="potok-bench-") as data_dir,
    ):
        env = PATIENT | {
            "OPENAI_BASE_URL": address,
            "OPENAI_API_KEY": "sk-bench",
            "POTOK_DEMO": "0",
            "DATABASE_URL": postgresql.create_database(),
            "REDIS_URL": redis.url,
            "SECRET_KEY": "one for all of them and long enough to be one",
            "POTOK_SECRETS_KEY": "another one for all of them and long enough too",
        }
        names = {"web-1": "serve", "web-2": "serve", "worker-1": "work", "worker-2": "work"}
        servers = [Server(Path(data_dir) / name, env, names[name]) for name in names]
        for server in servers:
            with_static(server.data_dir)
        try:
            await asyncio.to_thread(servers[0].manage, "migrate", "-v0")
            for web in servers[:2]:
                await asyncio.to_thread(web.start, 300)
            for worker in servers[2:]:
                worker.launch()
                await asyncio.to_thread(worker.wait_for_log, WORKER_IS_READY, 1, 300)
            owner = await asyncio.to_thread(servers[0].visitor().set_up)
            twin = servers[1].visitor()
            twin.http.cookies = owner.http.cookies
            widen = f"from chat.models import Gateway; Gateway.objects.update(slots={SLOTS})"
            await asyncio.to_thread(servers[0].manage, "shell", "-v0", "-c", widen)
            yield [owner, twin], servers, [postgresql, redis]
        finally:
            for server in servers:
                server.close()


def used_s(processes: Iterable[int]) -> float:
    return sum(cpu_s(pid) for pid in processes)


def pids_of(services: Iterable[Service]) -> list[int]:
    return [pid for service in services for pid in (service.pid, *service.children)]


async def relayed_us(gateway: Gateway, clients: list[Client], ours: list[int]) -> float:
    """Processor time of these processes for a delta, pages and questions shared among the clients."""
    pages = []
    for number in range(STREAMS):
        client = clients[number % len(clients)]
        asked = await asyncio.to_thread(client.send, f"Question {number}", model="bench")
        pages.append(await Page(clients[(number // 2) % len(clients)], asked).open())
    streams = await gateway.opened(STREAMS)
    began = used_s(ours)
    await at_a_rate(streams, RATE, SECONDS)
    for page in pages:
        await page.has_seen(RATE * SECONDS)
    us = (used_s(ours) - began) / (STREAMS * RATE * SECONDS) * 1e6
    await end(pages, streams)
    return us


async def measure() -> None:
    title(f"Scaled beside embedded: {STREAMS} streams, {RATE}/s")
    async with open_site() as site:
        embedded = await relayed_us(site.gateway, [site.owner], [site.server.pid])
    line("embedded, CPU a delta", embedded, "µs")
    gateway = Gateway()
    async with open_cluster(gateway) as (clients, servers, services):
        before = used_s(pids_of(services))
        ours = await relayed_us(gateway, clients, [server.pid for server in servers])
        theirs = (used_s(pids_of(services)) - before) / (STREAMS * RATE * SECONDS) * 1e6
    line("scaled, 2 web and 2 workers, CPU a delta", ours, "µs")
    line("  and of PostgreSQL and Redis", theirs, "µs")
    lost = 100 * (1 - embedded / (ours + theirs))
    line("throughput a core lost, PostgreSQL and Redis included", lost, "%", LOST_PERCENT)


if __name__ == "__main__":
    uvloop.run(measure())
