"""CPU per delta from socket to Delta, for the two ways httpx can carry a stream.

    python bench/transport.py

A server in another process holds 50 streams and sends each a delta every 10 ms, so that nearly
every read brings one event, as from a model.
"""

import asyncio
import json
import subprocess
import sys
import time
from contextlib import aclosing
from pathlib import Path

import httpx

sys.path.insert(0, str(Path(__file__).parents[1]))

from chat.upstream import client as upstream
from chat.upstream.client import Client, Endpoint
from chat.upstream.dialect import Delta
from chat.upstream.transport import open_client

STREAMS, DELTAS, EVERY_S = 50, 300, 0.01


async def serve() -> None:
    chunk = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m"}
    choice = {"index": 0, "delta": {"content": " слово"}, "finish_reason": None}
    event = b"data: " + json.dumps({**chunk, "choices": [choice]}).encode() + b"\n\n"

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        for body in [event] * DELTAS + [b"data: [DONE]\n\n"]:
            writer.write(f"{len(body):x}\r\n".encode() + body + b"\r\n")
            await asyncio.sleep(EVERY_S)
        writer.write(b"0\r\n\r\n")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


async def read(asked: Client, endpoint: Endpoint) -> int:
    count = 0
    async with aclosing(asked.stream(endpoint, {"messages": []})) as items:
        async for item in items:
            count += isinstance(item, Delta)
    return count


async def measure(endpoint: Endpoint) -> float:
    asked = Client()
    await read(asked, endpoint)
    started = time.process_time()
    counts = await asyncio.gather(*(read(asked, endpoint) for _ in range(STREAMS)))
    spent = time.process_time() - started
    await asked.aclose()
    return spent / sum(counts) * 1e6


def plain(max_connections: int, connect_s: float, **_bounds: object) -> httpx.AsyncClient:
    return httpx.AsyncClient(
        limits=httpx.Limits(max_connections=max_connections),
        timeout=httpx.Timeout(None, connect=connect_s, pool=connect_s),
        trust_env=False,
    )


def main() -> None:
    command = [sys.executable, __file__, "serve"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout
        endpoint = Endpoint("bench", f"http://127.0.0.1:{server.stdout.readline().strip()}/v1")
        for name, opener in (("httpx over aiohttp", open_client), ("plain httpx", plain)):
            upstream.open_client = opener
            best = min(asyncio.run(measure(endpoint)) for _ in range(3))
            print(f"{name:20}{best:8.1f} us a delta")
        server.terminate()


if __name__ == "__main__":
    asyncio.run(serve()) if sys.argv[1:] == ["serve"] else main()
