"""The embedded form: one process, an SQLite file on a small disk."""

import asyncio
import contextlib
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Any

import httpx

from tests.chaos.disk import SmallDisk
from tests.chaos.world import World, take_static
from tests.server import Server

START_S = 180  # of a machine that does much else
DISK_BYTES = 192 * 1024 * 1024


class Embedded(World):
    form = "embedded"

    def prepare(self, proxy_port: int) -> None:
        self._disk = SmallDisk(self.directory / "potok", DISK_BYTES)
        self.parts.callback(self._disk.close)
        take_static(self._disk.path)
        env = self.environment(f"http://127.0.0.1:{proxy_port}")
        self._server = self.new_server("potok", **env)
        self.url, self.front_port = self._server.url, self._server.port
        self.database = self._server.data_dir / "db.sqlite3"

    def start(self) -> None:
        self._server.start(START_S)

    @property
    def server(self) -> Server:
        return self._server

    @property
    def servers(self) -> Sequence[Server]:
        return [self._server]

    async def bring_up(self) -> None:
        if self._server.is_running:
            try:
                answer = await self.people["owner"].http.get("/readyz")
            except httpx.TransportError:
                answer = None
            if answer is not None and answer.json().get("draining") in ("ok", "off"):
                return
            await asyncio.to_thread(self._server.kill)
        await asyncio.to_thread(self._server.start)

    # --- the database file --------------------------------------------------------------------

    def rows(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        with contextlib.closing(
            sqlite3.connect(f"file:{self.database}?mode=ro", uri=True, timeout=20)
        ) as connection:
            return connection.execute(query, values).fetchall()

    def change(self, query: str, *values: object) -> None:
        with contextlib.closing(sqlite3.connect(self.database, timeout=20)) as connection:
            connection.execute(query, values)
            connection.commit()

    @contextlib.contextmanager
    def locked(self) -> Iterator[bool]:
        """Somebody else holds the database's only write lock."""
        with contextlib.closing(
            sqlite3.connect(
                self.database, timeout=10, isolation_level=None, check_same_thread=False
            )
        ) as connection:
            connection.execute("BEGIN EXCLUSIVE")
            yield self._is_locked()
            connection.execute("ROLLBACK")

    def _is_locked(self) -> bool:
        """Whether nobody else can write now."""
        with contextlib.closing(sqlite3.connect(self.database, timeout=0)) as probe:
            try:
                probe.execute("BEGIN IMMEDIATE")
            except sqlite3.OperationalError:
                return True
            return False

    def full(self) -> AbstractContextManager[bool]:
        return self._disk.full()
