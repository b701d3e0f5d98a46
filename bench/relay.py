"""The whole relay, from the gateway's bytes to the pages' sockets, beside the floor.

    python -m bench.relay           all of it, on a machine that does nothing else
    python -m bench.relay --paced   on a machine that does, the event loop's processor time alone:
                                    each delta waits for the one before to have been seen, so that
                                    none share a frame however slow the machine is

The floor is a bare uvloop protocol that passes the same bytes from socket to socket. Processor time
is that of the server's process alone, all threads of it.
"""

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import uvloop

from bench._gateway import Gateway, Stream
from bench._measure import cpu_s, line, loop_cpu_s, percentile, title
from bench._site import Site, open_site
from bench._speech import at_a_rate, end, one_by_one

BODY = b'{"messages": [{"role": "user", "content": "Question 0"}]}'
ASK = b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%b" % (
    len(BODY),
    BODY,
)
STREAMS, RATE, SECONDS = 100, 50, 10
FEW_STREAMS, FEW_WORDS = 10, 75
# The targets of this project; the figures are printed beside them.
TIMES_THE_FLOOR, TIMES_UNRENDERED, P99_MS, SATURATED_MS, GROWN_MB = 5, 3, 30, 500, 20


# --- the floor ------------------------------------------------------------------------------------


class Floor(asyncio.Protocol):
    """Passes on what the gateway sends, an event at a time, to whoever connects."""

    def __init__(self, gateway: int) -> None:
        self.gateway = gateway

    def connection_made(self, transport: asyncio.Transport) -> None:
        loop = asyncio.get_running_loop()
        opened = loop.create_connection(lambda: Upstream(transport), "127.0.0.1", self.gateway)
        self.task = loop.create_task(opened)


class Upstream(asyncio.Protocol):
    def __init__(self, reader: asyncio.Transport) -> None:
        self.reader, self.rest = reader, b""

    def connection_made(self, transport: asyncio.Transport) -> None:
        transport.write(ASK)

    def data_received(self, received: bytes) -> None:
        *events, self.rest = (self.rest + received).split(b"\n\n")
        for event in events:
            self.reader.write(b"\x82\x7e" + len(event).to_bytes(2, "big") + event)


async def serve_floor(gateway: int) -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Floor(gateway), "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


class FloorReader(asyncio.Protocol):
    """A page of the floor's: counts the events."""

    def __init__(self) -> None:
        self.seen = 0
        self.wait_for = 0
        self.arrived = asyncio.Event()

    def data_received(self, received: bytes) -> None:
        self.seen += received.count(b"\x82\x7e")
        if self.seen >= self.wait_for:
            self.arrived.set()

    async def has_seen(self, words: int) -> None:
        self.wait_for = words
        self.arrived.clear()
        if self.seen < words:
            await self.arrived.wait()


@asynccontextmanager
async def floor_readers(
    gateway: Gateway, port: int, count: int
) -> AsyncIterator[tuple[int, list[FloorReader], list[Stream]]]:
    """(process id, pages, their streams) of a floor in a process of its own."""
    loop = asyncio.get_running_loop()
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "bench.relay", "--floor", str(port)), stdout=subprocess.PIPE
    )
    assert process.stdout
    try:
        address = ("127.0.0.1", int(await process.stdout.readline()))
        readers, streams = [], []
        for _ in range(count):
            _, reader = await loop.create_connection(FloorReader, *address)
            readers.append(reader)
            streams += await gateway.opened(1)
        yield process.pid, readers, streams
        for stream in streams:
            stream.end()
    finally:
        process.kill()
        await process.wait()


# --- measuring --------------------------------------------------------------------------------------


async def floor_us(gateway: Gateway, port: int, count: int, *, paced: bool) -> float:
    """Processor time of the floor for a delta."""
    used_s = loop_cpu_s if paced else cpu_s
    async with floor_readers(gateway, port, count) as (pid, readers, streams):
        began = used_s(pid)
        if paced:
            await one_by_one(streams, readers, FEW_WORDS)
        else:
            await at_a_rate(streams, RATE, SECONDS)
            for reader in readers:
                await reader.has_seen(RATE * SECONDS)
        return (used_s(pid) - began) / sum(len(s.sent_at) for s in streams) * 1e6


async def relayed(
    site: Site, count: int, rate: int, *, code: bool = False, paced: bool = False
) -> tuple[float, list[float]]:
    """(µs a delta, ages in ms); `code`: in a block that isn't rendered, only escaped."""
    pages, streams = await site.ask(count)
    if code:
        for stream in streams:
            stream.say("```\n")
        await asyncio.sleep(1)
    used_s = loop_cpu_s if paced else cpu_s
    began = used_s(site.server.pid)
    if paced:
        await one_by_one(streams, pages, FEW_WORDS)
    else:
        await at_a_rate(streams, rate, SECONDS)
        for page, stream in zip(pages, streams, strict=True):
            await page.has_seen(len(stream.sent_at))
    deltas = sum(len(stream.sent_at) for stream in streams)
    us = (used_s(site.server.pid) - began) / deltas * 1e6
    ages = [
        (seen - sent) * 1000
        for page, stream in zip(pages, streams, strict=True)
        for seen, sent in zip(page.seen_at, stream.sent_at, strict=True)
    ]
    await end(pages, streams)
    return us, ages


async def measure(*, paced: bool) -> None:
    async with open_site() as site:
        port = int(site.server.env["OPENAI_BASE_URL"].rsplit(":", 1)[1].split("/")[0])
        count = FEW_STREAMS if paced else STREAMS
        title(f"The relay: {count} streams, {'one by one' if paced else f'{RATE}/s'}")
        floor = await floor_us(site.gateway, port, count, paced=paced)
        line("the floor, CPU a delta", floor, "µs")
        for code, most in ((False, TIMES_THE_FLOOR), (True, TIMES_UNRENDERED)):
            us, ages = await relayed(site, count, RATE, code=code, paced=paced)
            name = "without rendering (a code block)" if code else "rendered and checkpointed"
            line(f"Potok {name}, CPU a delta", us, "µs")
            line("  times the floor", us / floor, "x", most)
            if not paced:
                line("  age at the socket, p50, on all cores", percentile(ages, 0.5), "ms")
                line("  age at the socket, p99, on all cores", percentile(ages, 0.99), "ms")
        if not paced:
            await measure_ages(site)


async def measure_ages(site: Site) -> None:
    site.keep_server_to_one_core()
    for count, rate in ((50, 50), (100, 20)):
        us, ages = await relayed(site, count, rate)
        name = f"{count} streams of {rate}/s on one core"
        line(f"age at the socket, p50, {name}", percentile(ages, 0.5), "ms")
        line(f"age at the socket, p99, {name}", percentile(ages, 0.99), "ms", P99_MS)
    rate = round(2e6 / us / STREAMS)
    before_mb = site.server.resident_mb
    us, ages = await relayed(site, STREAMS, rate)
    name = f"{STREAMS} of {rate}/s, twice what a core can"
    line(f"age, p99, {name}", percentile(ages, 0.99), "ms", SATURATED_MS)
    grown_mb = site.server.resident_mb - before_mb
    line("  memory gained in ten such seconds", grown_mb, "MB", GROWN_MB)


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["--floor", port]:
            uvloop.run(serve_floor(int(port)))
        case arguments:
            uvloop.run(measure(paced="--paced" in arguments))
