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
from bench._site import PATIENT, SLOTS, TABS_OF_A_PERSON, open_site, with_static
from bench._speech import at_a_rate, end
from tests.server import WORKER_IS_READY, Client, Server
from tests.services import PostgreSQL, RedisServer, Service

STREAMS, RATE, SECONDS = 40, 50, 10
LOST_PERCENT = 35


@asynccontextmanager
async def open_cluster(
    gateway: Gateway,
) -> AsyncIterator[tuple[list[list[Client]], list[Server], list[Service]]]:
    """(of each person a login on each web process, the four processes, the two services)."""
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
            names = [f"reader{number}" for number in range(1, STREAMS // TABS_OF_A_PERSON)]
            people = [owner, *await asyncio.to_thread(servers[0].add_users, names)]
            twins = [servers[1].visitor() for _ in people]
            for person, twin in zip(people, twins, strict=True):
                twin.http.cookies = person.http.cookies
            widen = f"from chat.models import Gateway; Gateway.objects.update(slots={SLOTS})"
            await asyncio.to_thread(servers[0].manage, "shell", "-v0", "-c", widen)
            logins = [list(each) for each in zip(people, twins, strict=True)]
            yield logins, servers, [postgresql, redis]
        finally:
            for server in servers:
                server.close()


def used_s(processes: Iterable[int]) -> float:
    return sum(cpu_s(pid) for pid in processes)


def pids_of(services: Iterable[Service]) -> list[int]:
    return [pid for service in services for pid in (service.pid, *service.children)]


async def relayed_us(
    gateway: Gateway, people: list[list[Client]], *groups: list[int]
) -> list[float]:
    """Processor time of each group of processes for a delta, while the replies stream.

    Questions and pages are shared among the logins of a person.
    """
    pages = []
    for number in range(STREAMS):
        logins = people[number // TABS_OF_A_PERSON]
        client = logins[number % len(logins)]
        asked = await asyncio.to_thread(client.send, f"Question {number}", model="bench")
        pages.append(await Page(logins[(number // 2) % len(logins)], asked).open())
    streams = await gateway.opened(STREAMS)
    began = [used_s(pids) for pids in groups]
    await at_a_rate(streams, RATE, SECONDS)
    for page in pages:
        await page.has_seen(RATE * SECONDS)
    deltas = STREAMS * RATE * SECONDS
    us = [
        (used_s(pids) - before) / deltas * 1e6 for pids, before in zip(groups, began, strict=True)
    ]
    await end(pages, streams)
    return us


async def measure() -> None:
    title(f"Scaled beside embedded: {STREAMS} streams, {RATE}/s")
    async with open_site() as site:
        people = await site.people(STREAMS // TABS_OF_A_PERSON)
        logins = [[person] for person in people]
        (embedded,) = await relayed_us(site.gateway, logins, [site.server.pid])
    line("embedded, CPU a delta", embedded, "µs")
    gateway = Gateway()
    async with open_cluster(gateway) as (people, servers, services):
        groups = [server.pid for server in servers], pids_of(services)
        ours, theirs = await relayed_us(gateway, people, *groups)
    line("scaled, 2 web and 2 workers, CPU a delta", ours, "µs")
    line("  and of PostgreSQL and Redis", theirs, "µs")
    lost = 100 * (1 - embedded / (ours + theirs))
    line("throughput a core lost, PostgreSQL and Redis included", lost, "%", LOST_PERCENT)


if __name__ == "__main__":
    uvloop.run(measure())
