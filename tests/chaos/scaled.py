"""The scaled form: nginx, two processes that serve, two that work, PostgreSQL and Redis."""

import asyncio
import contextlib
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Any

import httpx
import psycopg

from tests.chaos.disk import SmallDisk
from tests.chaos.world import World, keep_static, take_static
from tests.server import Server, free_port, get
from tests.services import PostgreSQL, RedisServer, Service, install, program
from tests.waiting import until
from tools.cluster import configure

DISK_BYTES = 320 * 1024 * 1024
# In the order in which they are written: whoever locks them otherwise meets a checkpoint half-way.
WRITTEN = "chat_generation, chat_message"
START_S = 180  # of a machine that does much else
READY = "This worker is ready"


class Nginx(Service):
    """The documented configuration, with our ports in it."""

    def __init__(self, web_ports: Sequence[int]) -> None:
        super().__init__("nginx")
        self.user = None  # it changes to a user of its own
        configure(self.directory, str(self.port), [str(port) for port in web_ports])

    def start(self) -> None:
        conf = self.directory / "nginx.conf"
        self.run([program("nginx"), "-e", "stderr", "-c", str(conf)], self._listens)

    def _listens(self) -> bool:
        try:
            get(f"http://127.0.0.1:{self.port}/healthz")
        except httpx.TransportError:
            return False
        return True


class Scaled(World):
    form = "scaled"

    def prepare(self, proxy_port: int) -> None:
        install()
        self._said: dict[Server, int] = {}  # how often a worker had said READY before its start
        self._disk = SmallDisk(self.directory / "postgresql", DISK_BYTES)
        self.parts.callback(self._disk.close)
        self._disk.path.chmod(0o777)
        self.directory.chmod(0o755)
        self.postgresql = PostgreSQL(parent=self._disk.path)
        self.parts.callback(_end, self.postgresql)
        self.redis = RedisServer()
        self.parts.callback(_end, self.redis)
        web_ports = [free_port(), free_port()]
        self.nginx = Nginx(web_ports)
        self.parts.callback(_end, self.nginx)
        self.front_port = self.nginx.port
        self.url = f"http://127.0.0.1:{self.nginx.port}"
        origins = [self.url, *(f"http://127.0.0.1:{port}" for port in (proxy_port, *web_ports))]
        env = self.environment(*origins) | {
            "DATABASE_URL": self.postgresql.url,
            "REDIS_URL": self.redis.url,
            "SECRET_KEY": "one for all of them and long enough to be one",
            "POTOK_SECRETS_KEY": "another one for all of them and long enough too",
            "TRUSTED_PROXIES": "127.0.0.1",
        }
        self.web = [self._web(f"web{n}", port, env) for n, port in enumerate(web_ports, 1)]
        self.workers = [self.new_server(f"worker{n}", "work", **env) for n in (1, 2)]

    def _web(self, name: str, port: int, env: dict[str, str]) -> Server:
        server = self.new_server(name, **env, PORT=str(port))
        server.port, server.url = port, f"http://127.0.0.1:{port}"
        take_static(server.data_dir)
        return server

    def start(self) -> None:
        self.server.start(START_S)
        keep_static(self.server.data_dir)
        take_static(self.web[1].data_dir)
        self.launch(*self.servers[1:])
        self.wait_up(self.servers)
        self.nginx.start()

    @property
    def server(self) -> Server:
        return self.web[0]

    @property
    def servers(self) -> Sequence[Server]:
        return [*self.web, *self.workers]

    def launch(self, *servers: Server) -> None:
        """Start them and wait for nothing."""
        for server in servers:
            self._said[server] = server.log.count(READY)
            server.launch()

    def wait_up(self, servers: Sequence[Server]) -> None:
        """Until each answers, or says that it works."""
        for server in servers:
            until(lambda s=server: self._is_up(s), f"{server.data_dir.name} is up", START_S)

    def _is_up(self, server: Server) -> bool:
        assert server.is_running, server.log[-4000:]
        if server.command == "work":
            return server.log.count(READY) > self._said[server]
        try:
            answer = get(f"{server.url}/readyz", timeout_s=3)
        except httpx.TransportError:
            return False
        return answer.status_code == 200

    async def bring_up(self) -> None:
        await asyncio.to_thread(self._bring_up)

    def _bring_up(self) -> None:
        for service in (self.postgresql, self.redis, self.nginx):
            if service.is_running:
                service.send_all(signal.SIGCONT)
            else:
                service.start()
        for server in self.servers:
            if server.is_running:
                server.signal(signal.SIGCONT)
            else:
                self.launch(server)
        self.wait_up(self.servers)

    # --- the database -------------------------------------------------------------------------

    def rows(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        return self._ask(query, values, lambda cursor: cursor.fetchall())

    def change(self, query: str, *values: object) -> None:
        self._ask(query, values, lambda cursor: None)

    def _ask(self, query: str, values: tuple[object, ...], take: Callable[[Any], Any]) -> Any:
        with psycopg.connect(self.postgresql.url, autocommit=True) as connection:
            # psycopg's marks; a % of the query's own is not used.
            return take(connection.execute(query.replace("?", "%s"), values))  # type: ignore[arg-type]

    @contextlib.contextmanager
    def locked(self) -> Iterator[bool]:
        """Rows can be read and not be written."""
        with psycopg.connect(self.postgresql.url) as connection:
            until(lambda: _takes(connection), "the tables are locked")
            yield True
            connection.rollback()

    def full(self) -> AbstractContextManager[bool]:
        return self._disk.full()


def _takes(connection: psycopg.Connection) -> bool:
    """Whether the lock was had; of two who wait for each other PostgreSQL turns one away."""
    try:
        connection.execute(f"LOCK TABLE {WRITTEN} IN EXCLUSIVE MODE")
    except psycopg.errors.DeadlockDetected:
        connection.rollback()
        return False
    return True


def _end(service: Service) -> None:
    service.send_all(signal.SIGCONT)
    service.close()
