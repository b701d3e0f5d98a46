"""A server that answers with exactly these bytes, in the test's own event loop."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

STREAM = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n"

Step = bytes | Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@dataclass
class Server:
    """What came, and whether the client has closed a connection before its answer was whole."""

    base_url: str = ""
    heads: list[str] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)
    connections: int = 0
    asked: asyncio.Event = field(default_factory=asyncio.Event)
    left: asyncio.Event = field(default_factory=asyncio.Event)


async def hang(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
    """Keep the connection, send nothing, until the client closes."""
    await reader.read()
    raise ConnectionResetError


async def reset(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Close by RST, all of a sudden."""
    writer.transport.abort()


def trickle(piece: bytes, every_s: float) -> Step:
    """The same bytes again and again until the client closes."""

    async def send(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(every_s)

    return send


def response(status: int, headers: dict[str, str], body: bytes) -> bytes:
    lines = [f"HTTP/1.1 {status} Words", f"Content-Length: {len(body)}", "Connection: close"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode() + body


def chunked(body: bytes) -> bytes:
    """A whole stream that leaves the connection open for another request."""
    head = STREAM.replace(b"Connection: close", b"Transfer-Encoding: chunked")
    return head + f"{len(body):x}\r\n".encode() + body + b"\r\n0\r\n\r\n"


@asynccontextmanager
async def serving(*steps: Step, keep_alive: bool = False) -> AsyncIterator[Server]:
    """Every request is answered by these steps."""
    server = Server()
    tasks: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tasks.add(asyncio.current_task())  # type: ignore[arg-type]
        server.connections += 1
        try:
            while True:
                await _receive(reader, server)
                for step in steps:
                    if isinstance(step, bytes):
                        writer.write(step)
                        await writer.drain()
                    else:
                        await step(reader, writer)
                if not keep_alive:
                    break
        except (ConnectionError, asyncio.IncompleteReadError):
            server.left.set()
        except asyncio.CancelledError:
            pass  # the test is over
        finally:
            writer.close()

    listener = await asyncio.start_server(serve, "127.0.0.1", 0)
    server.base_url = f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}/v1"
    try:
        yield server
    finally:
        listener.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _receive(reader: asyncio.StreamReader, server: Server) -> None:
    head = (await reader.readuntil(b"\r\n\r\n")).decode()
    server.heads.append(head)
    fields = dict(line.lower().split(": ", 1) for line in head.split("\r\n")[1:] if line)
    server.bodies.append(await reader.readexactly(int(fields.get("content-length", "0"))))
    server.asked.set()
