"""The network between page and server: a TCP proxy that can be cut, frozen and made slow."""

import asyncio
import contextlib
import socket
import struct

PIECE_BYTES = 64 * 1024


class Proxy:
    """Forwards a port of its own to `target`, on the loop that called start()."""

    def __init__(self, port: int, target: int) -> None:
        self.port, self.target = port, target
        self.url = f"http://127.0.0.1:{port}"
        self.is_refusing = False
        self.bytes_per_s: float | None = None
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._pairs: set[tuple[asyncio.StreamWriter, asyncio.StreamWriter]] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._adopt, "127.0.0.1", self.port)

    async def close(self) -> None:
        self._server.close()
        self.cut()
        self.thaw()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    @property
    def connections(self) -> int:
        return len(self._pairs)

    def cut(self) -> int:
        """Reset every connection; returns how many there were."""
        pairs = list(self._pairs)
        for pair in pairs:
            for writer in pair:
                _reset(writer)
        return len(pairs)

    def freeze(self) -> int:
        """Keep all connections and carry nothing, new ones too; returns how many there were."""
        self._flowing.clear()
        return len(self._pairs)

    def thaw(self) -> None:
        self._flowing.set()

    def _adopt(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self._serve(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def heal(self) -> None:
        self.thaw()
        self.is_refusing, self.bytes_per_s = False, None

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.is_refusing:
            _reset(writer)
            return
        try:
            begun = await self._until_thawed(reader)
            if begun is None:
                writer.close()
                return
            up = await asyncio.open_connection("127.0.0.1", self.target)
        except OSError:
            _reset(writer)
            return
        up[1].write(begun)
        pair = (writer, up[1])
        self._pairs.add(pair)
        try:
            async with asyncio.TaskGroup() as both:
                both.create_task(self._pump(reader, up[1]))
                both.create_task(self._pump(up[0], writer))
        except* OSError:
            for end in pair:
                _reset(end)
        finally:
            self._pairs.discard(pair)
            for end in pair:
                end.close()

    async def _until_thawed(self, reader: asyncio.StreamReader) -> bytes | None:
        """What was said meanwhile; None of a client that gave up, as nothing of it would arrive."""
        said = b""
        flowing = asyncio.create_task(self._flowing.wait())
        try:
            while not self._flowing.is_set():
                heard = asyncio.create_task(reader.read(PIECE_BYTES))
                await asyncio.wait({flowing, heard}, return_when=asyncio.FIRST_COMPLETED)
                if not heard.done():
                    heard.cancel()
                elif piece := heard.result():
                    said += piece
                else:
                    return None
        finally:
            flowing.cancel()
        return said

    async def _pump(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        while True:
            rate = self.bytes_per_s
            piece = await source.read(PIECE_BYTES if rate is None else max(1, int(rate / 20)))
            await self._flowing.wait()
            if not piece:
                break
            if rate is not None:
                await asyncio.sleep(len(piece) / rate)
            sink.write(piece)
            await sink.drain()
        with contextlib.suppress(OSError):
            sink.write_eof()


def _reset(writer: asyncio.StreamWriter) -> None:
    raw = writer.get_extra_info("socket")
    if raw is not None and raw.fileno() >= 0:
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
