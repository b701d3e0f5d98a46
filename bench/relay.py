"""The whole relay, from the gateway's bytes to the page's socket, beside the floor.

    python -m bench.relay

A gateway holds its streams until all are there, then sends each a stamped delta every 20 ms. The
floor is a bare uvloop protocol that passes the same bytes from socket to socket. Processor time is
the server process's alone; from /proc, so on Linux only.
"""

import asyncio
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import quantiles

import httpx
import uvloop
from websockets.asyncio.client import connect

from tests.server import Client, Server

STREAMS, SECONDS, EVERY_S = 100, 10, 0.02
DELTAS = int(SECONDS / EVERY_S)
STAMP = re.compile(r"@(\d{9,})")
ASK = b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}"
# The targets of this project; the figures are printed beside them.
TIMES_THE_FLOOR, P99_MS, START_MB, REPLY_KB = 5, 30, 110, 150


# --- the gateway ----------------------------------------------------------------------------------


class Streams(asyncio.Protocol):
    """GET /waiting counts the streams that wait, GET /go lets them all begin."""

    waiting = 0
    go = asyncio.Event()

    def connection_made(self, transport: asyncio.Transport) -> None:
        self.transport, self.received = transport, b""

    def data_received(self, received: bytes) -> None:
        self.received += received
        head, separator, body = self.received.partition(b"\r\n\r\n")
        size = re.search(rb"content-length: *(\d+)", head, re.IGNORECASE)
        if not separator or len(body) < (int(size[1]) if size else 0):
            return
        self.received = b""
        if head.startswith(b"POST"):
            self.task = asyncio.ensure_future(self.stream())
            return
        if b" /go" in head:
            Streams.go.set()
        models = {"data": [{"id": "stamped"}], "waiting": Streams.waiting}
        answer = json.dumps(models).encode()
        self.transport.write(
            b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(answer) + answer
        )

    async def stream(self) -> None:
        place = Streams.waiting
        Streams.waiting += 1
        self.transport.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n")
        self.transport.write(b"Transfer-Encoding: chunked\r\n\r\n")
        await Streams.go.wait()
        begin = asyncio.get_running_loop().time() + place / STREAMS * EVERY_S
        for number in range(DELTAS):
            await asyncio.sleep(
                max(0, begin + number * EVERY_S - asyncio.get_running_loop().time())
            )
            end = "\n\n" if number % 25 == 24 else ""
            self.send(self.chunk({"content": f" @{time.monotonic_ns() // 1000}{end}"}))
        self.send(self.chunk({}, "stop") + b"data: [DONE]\n\n")
        self.transport.write(b"0\r\n\r\n")
        Streams.waiting -= 1
        if not Streams.waiting:
            Streams.go.clear()

    def send(self, body: bytes) -> None:
        self.transport.write(b"%x\r\n%b\r\n" % (len(body), body))

    def chunk(self, delta: dict[str, str], finish: str | None = None) -> bytes:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
        named = {"id": "chatcmpl-0123456789", "object": "chat.completion.chunk", "created": 1}
        return (
            b"data: "
            + json.dumps({**named, "model": "stamped", "choices": [choice]}).encode()
            + b"\n\n"
        )


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


async def listen(protocol: type[asyncio.Protocol], *arguments: int) -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: protocol(*arguments), "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


@contextmanager
def helper(*arguments: str) -> Iterator[tuple[int, int]]:
    """(process id, port) of the gateway or of the floor."""
    command = [sys.executable, "-m", "bench.relay", *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        try:
            yield process.pid, int(process.stdout.readline())
        finally:
            process.kill()


# --- measuring ------------------------------------------------------------------------------------


def cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def resident_mb(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text()
    found = re.search(r"VmRSS:\s+(\d+)", status)
    assert found
    return int(found[1]) / 1024


def us_per_delta(used_s: float) -> float:
    return used_s / (STREAMS * DELTAS) * 1e6


async def at(gateway: int, path: str) -> int:
    async with httpx.AsyncClient(trust_env=False) as client:
        return int((await client.get(f"http://127.0.0.1:{gateway}{path}")).json()["waiting"])


async def released(gateway: int) -> None:
    """Let the streams go once each of them waits."""
    while await at(gateway, "/waiting") < STREAMS:  # noqa: ASYNC110 - it is another process
        await asyncio.sleep(0.1)
    await at(gateway, "/go")


async def floor_us(pid: int, port: int, gateway: int) -> float:
    pairs = [await asyncio.open_connection("127.0.0.1", port, limit=2**26) for _ in range(STREAMS)]
    await released(gateway)
    began = cpu_s(pid)
    await asyncio.gather(*(reader.readuntil(b"[DONE]") for reader, _ in pairs))
    used = cpu_s(pid) - began
    for _, writer in pairs:
        writer.close()
    return us_per_delta(used)


class Page:
    """One page at its socket: acknowledges as the real one does, and notes how old deltas are."""

    def __init__(self, client: Client, conversation: str | None) -> None:
        self.address = f"{client.server.url.replace('http', 'ws', 1)}/ws/"
        cookies = "; ".join(f"{name}={value}" for name, value in client.cookies.items())
        self.headers = {"Cookie": cookies}
        self.origin = client.server.url
        self.watch = {"protocol": 1, "conversation": conversation, "version": 0}
        self.ages_ms: list[float] = []
        self.is_watching = asyncio.Event()

    async def follow(self) -> None:
        """Until its reply has ended."""
        newest, acknowledged_at = 0, 0.0
        opened = connect(
            self.address, origin=self.origin, additional_headers=self.headers, compression=None,
            max_size=None, proxy=None,
        )  # fmt: skip
        async with opened as socket:
            await socket.recv()
            await socket.send(json.dumps({"watch": self.watch}))
            async for raw in socket:
                now = time.monotonic_ns() // 1000
                self.is_watching.set()
                stamps = {int(stamp) for stamp in STAMP.findall(str(raw))}
                self.ages_ms += [(now - stamp) / 1000 for stamp in stamps if stamp > newest]
                newest = max(newest, *stamps, 0)
                if now - acknowledged_at > 250_000:
                    acknowledged_at = now
                    await socket.send(json.dumps({"ack": json.loads(raw)["n"]}))
                if newest and 'data-status=\\"complete\\"' in raw:
                    return


async def relay(owner: Client, gateway: int) -> tuple[float, list[float], float]:
    """(µs a delta, ages in ms, KB a running reply)."""
    pid = owner.server.pid
    before_mb = resident_mb(pid)
    send = asyncio.to_thread
    pages = [Page(owner, await send(owner.send, "Go", model="stamped")) for _ in range(STREAMS)]
    async with asyncio.TaskGroup() as tasks:
        followers = [tasks.create_task(page.follow()) for page in pages]
        for page in pages:
            await page.is_watching.wait()
        await released(gateway)
        began = cpu_s(pid)
        await asyncio.sleep(SECONDS / 2)
        reply_kb = (resident_mb(pid) - before_mb) * 1024 / STREAMS
        await asyncio.gather(*followers)
    used = cpu_s(pid) - began
    return us_per_delta(used), [age for page in pages for age in page.ages_ms], reply_kb


def line(name: str, figure: float, unit: str, target: float | None = None) -> None:
    holds = (
        "" if target is None else f"at most {target:g}: {'holds' if figure <= target else 'MISSED'}"
    )
    print(f"{name:44}{figure:9.1f} {unit:10}{holds}")


async def measure(owner: Client, gateway: int) -> None:
    with helper("floor", str(gateway)) as (pid, port):
        floor = await floor_us(pid, port, gateway)
    line("the floor, CPU a delta", floor, "µs")
    us, ages, reply_kb = await relay(owner, gateway)
    line("Potok, rendered and checkpointed, CPU a delta", us, "µs")
    line("times the floor", us / floor, "x", TIMES_THE_FLOOR)
    p50, p99 = (quantiles(ages, n=100)[part] for part in (49, 98))
    line(f"age at the socket, p50 of {len(ages):,}", p50, "ms")
    line("age at the socket, p99", p99, "ms", P99_MS)
    line("deltas never seen by their stamp", STREAMS * DELTAS - len(ages), "", 0)
    line(f"memory of one of {STREAMS} running replies", reply_kb, "KB", REPLY_KB)


def main() -> None:
    with helper("gateway") as (_, gateway), tempfile.TemporaryDirectory() as data_dir:
        env = {"OPENAI_BASE_URL": f"http://127.0.0.1:{gateway}/v1", "POTOK_DEMO": "0"}
        began = time.monotonic()
        server = Server(Path(data_dir), env | {"OPENAI_API_KEY": "sk-bench"}).start(180)
        print(
            f"{STREAMS} streams of {1 / EVERY_S:.0f} deltas/s for {SECONDS} s, load",
            os.getloadavg(),
        )
        line("first start until it answers", (time.monotonic() - began) * 1000, "ms")
        try:
            line("resident after the start", resident_mb(server.pid), "MB", START_MB)
            asyncio.run(measure(server.visitor().set_up(), gateway))
        finally:
            server.close()


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["gateway"]:
            uvloop.run(listen(Streams))
        case ["floor", port]:
            uvloop.run(listen(Floor, int(port)))
        case _:
            main()
