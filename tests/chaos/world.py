"""The real server, the gateway, the network between, people, and the database file."""

import asyncio
import contextlib
import os
import shutil
import sqlite3
import subprocess
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import httpx
from playwright.async_api import Browser

from tests.chaos.dom import parse
from tests.chaos.proxy import Proxy
from tests.gateway import Gateway
from tests.server import PASSWORD, ROOT, Client, Server, free_port

T = TypeVar("T")
DRAIN_S = 2.0
IDLE_S = 4.0
DISK_BYTES = 192 * 1024 * 1024
MEMBERS = ("mira", "oleg")


class Clock:
    """Seconds in which neither this process nor the server waited for a processor.

    Deadlines are promised for a machine that has time for them; so on a busy one the time for which
    the kernel says that a thread was ready and had to wait (schedstat) is taken off: of all threads
    the longest. Elsewhere than on Linux seconds are seconds.
    """

    TICK_S = 0.03

    def __init__(self, server_pid: Callable[[], int | None]) -> None:
        self.now = 0.0
        self._server_pid = server_pid
        self._waited: dict[str, float] = {}
        self._task = asyncio.create_task(self._tick())

    async def _tick(self) -> None:
        last = time.monotonic()
        while True:
            await asyncio.sleep(self.TICK_S)
            now = time.monotonic()
            pids = [pid for pid in (os.getpid(), self._server_pid()) if pid]
            waited = max((self._wait_of(task) for pid in pids for task in _tasks(pid)), default=0.0)
            self.now += max(0.0, now - last - waited)
            last = now

    def _wait_of(self, task: str) -> float:
        """For how long this thread waited since it was asked last."""
        try:
            with open(f"{task}/schedstat", "rb") as file:  # noqa: PTH123  (often, so plainly)
                total = int(file.read().split()[1]) / 1e9
        except (OSError, IndexError):
            return 0.0
        before, self._waited[task] = self._waited.get(task, total), total
        return total - before

    async def until(
        self, probe: Callable[[], T | Awaitable[T]], deadline_s: float, every_s: float = 0.05
    ) -> T | None:
        """The first truthy answer, else None once so many seconds have passed."""
        end = self.now + deadline_s
        while True:
            is_late = self.now > end
            answer = probe()
            if isinstance(answer, Awaitable):
                answer = await answer
            if answer:
                return answer
            if is_late:
                return None
            await asyncio.sleep(every_s)

    def close(self) -> None:
        self._task.cancel()


def _tasks(pid: int) -> list[str]:
    try:
        return [entry.path for entry in os.scandir(f"/proc/{pid}/task")]
    except OSError:
        return []


class Person:
    """A session: pages go through the proxy, commands straight to the server."""

    def __init__(self, world: "World", client: Client) -> None:
        self.world = world
        self.client = client
        self.is_member = client is not world.owner
        self.http = self._way(world.server.url)
        self.far = self._way(world.proxy.url)

    def _way(self, url: str) -> httpx.AsyncClient:
        return httpx.AsyncClient(
            base_url=url,
            cookies=self.client.cookies,
            headers={"Origin": url, "Accept-Language": "en"},
            timeout=30,
            trust_env=False,
        )

    async def post(self, path: str, **fields: str) -> httpx.Response:
        if self.world.swallows(path):
            return httpx.Response(303, headers={"Location": "/"})
        token = self.client.cookies["csrftoken"]
        return await self.http.post(path, data={"csrfmiddlewaretoken": token, **fields})

    async def export(self, conversation: str) -> dict[str, Any] | None:
        """None while there is no answer, or no such conversation."""
        try:
            answer = await self.http.get(f"/c/{conversation}/export.json")
        except httpx.TransportError:
            return None
        return dict(answer.json()) if answer.status_code == 200 else None

    async def close(self) -> None:
        await self.http.aclose()
        await self.far.aclose()


class World:
    """Everything that outlives a round; use it in `async with`."""

    def __init__(self, browser: Browser | None = None) -> None:
        self.browser = browser  # for rounds with a real page
        # A planted bug: commands that are answered and do nothing.
        self.swallows: Callable[[str], bool] = lambda path: False
        self.people: dict[str, Person] = {}
        self.extra: list[Person] = []

    async def __aenter__(self) -> "World":
        self.data_dir = Path(tempfile.mkdtemp(prefix="potok-chaos-"))
        self.is_small_disk = _mount(self.data_dir)
        await asyncio.to_thread(_take_static, self.data_dir)
        self.gateway = Gateway()
        port = free_port()
        self.server = Server(self.data_dir, self._environment(port))
        self.proxy = Proxy(port, self.server.port)
        self.clock = Clock(lambda: self.server.pid if self.server.is_running else None)
        await self.proxy.start()
        await asyncio.to_thread(self.server.start)
        owner = await asyncio.to_thread(lambda: self.server.visitor().set_up())
        self.owner = owner
        self.people["owner"] = Person(self, owner)
        names = " ".join(MEMBERS)
        make = f"[User.objects.create_user(n, password={PASSWORD!r}) for n in {names!r}.split()]"
        code = f"from chat.models import User; {make}"
        await asyncio.to_thread(self.server.manage, "shell", "-v0", "-c", code)
        for name in MEMBERS:
            self.people[name] = await self.log_in(name)
        return self

    async def __aexit__(self, *exc: object) -> None:
        for person in [*self.people.values(), *self.extra]:
            await person.close()
        await self.proxy.close()
        self.clock.close()
        await asyncio.to_thread(self.server.close)
        await asyncio.to_thread(self.gateway.close)
        _unmount(self.data_dir)

    def _environment(self, proxy_port: int) -> dict[str, str]:
        return {
            "OPENAI_BASE_URL": self.gateway.url,
            "OPENAI_API_KEY": "sk-test",
            "POTOK_DEMO": "0",
            "POTOK_DRAIN_S": f"{DRAIN_S:g}",
            "POTOK_FIRST_BYTE_S": f"{2 * IDLE_S:g}",
            "POTOK_IDLE_BYTES_S": f"{IDLE_S:g}",
            "POTOK_URL": f"http://127.0.0.1:{proxy_port}",
        }

    async def bring_up(self) -> None:
        """A server that answers, whatever a round has left."""
        if self.server.is_running:
            try:
                answer = await self.people["owner"].http.get("/readyz")
            except httpx.TransportError:
                answer = None
            if answer is not None and answer.json().get("draining") in ("ok", "off"):
                return
            await asyncio.to_thread(self.server.kill)
        await asyncio.to_thread(self.server.start)

    async def log_in(self, name: str) -> Person:
        """A session of its own."""
        client = await asyncio.to_thread(lambda: self.server.visitor().log_in(name))
        return Person(self, client)

    async def set_active(self, name: str, is_active: bool) -> None:
        """Switch somebody on or off, as an owner does in the admin."""
        owner = self.people["owner"]
        ((user,),) = self.rows("SELECT id FROM chat_user WHERE username = ?", name)
        path = f"/admin/chat/user/{user}/change/"
        page = parse((await owner.http.get(path)).text)
        fields = {
            each["name"]: each.get("value")
            for each in page.find_all(lambda e: e.tag == "input" and bool(e.get("name")))
            if each.get("type") not in ("checkbox", "submit") or "checked" in each.attributes
        }
        fields.pop("is_active", None)
        answer = await owner.post(path, **fields | ({"is_active": "on"} if is_active else {}))
        assert answer.status_code == 302, f"the admin answered {answer.status_code}"

    # --- the database file --------------------------------------------------------------------

    @property
    def database(self) -> Path:
        return self.data_dir / "db.sqlite3"

    def rows(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        with contextlib.closing(
            sqlite3.connect(f"file:{self.database}?mode=ro", uri=True, timeout=20)
        ) as connection:
            return connection.execute(query, values).fetchall()

    def change(self, query: str, *values: object) -> None:
        """Behind the server's back: what a planted bug would have written."""
        with contextlib.closing(sqlite3.connect(self.database, timeout=20)) as connection:
            connection.execute(query, values)
            connection.commit()

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Somebody else holds the database's only write lock."""
        with contextlib.closing(
            sqlite3.connect(
                self.database, timeout=10, isolation_level=None, check_same_thread=False
            )
        ) as connection:
            connection.execute("BEGIN EXCLUSIVE")
            yield
            connection.execute("ROLLBACK")

    @property
    def is_locked(self) -> bool:
        """Whether nobody else can write now."""
        with contextlib.closing(sqlite3.connect(self.database, timeout=0)) as probe:
            try:
                probe.execute("BEGIN IMMEDIATE")
            except sqlite3.OperationalError:
                return True
            return False

    @contextlib.contextmanager
    def full(self) -> Iterator[None]:
        """No byte is left where the data are."""
        ballast = self.data_dir / "ballast"
        piece = b"\0" * 65536
        try:
            with ballast.open("ab", buffering=0) as file:
                for size in (len(piece), 512):
                    with contextlib.suppress(OSError):
                        while file.write(piece[:size]):
                            pass
            yield
        finally:
            ballast.unlink()

    @property
    def free_bytes(self) -> int:
        about = os.statvfs(self.data_dir)
        return about.f_bavail * about.f_bsize


def _mount(path: Path) -> bool:
    """Make it a small disk of its own, where that is allowed."""
    if os.geteuid() != 0 or not shutil.which("mount"):
        return False
    command = ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "tmpfs", str(path)]
    return subprocess.run(command, capture_output=True).returncode == 0


def _unmount(path: Path) -> None:
    if path.is_mount():
        subprocess.run(["umount", str(path)], check=False)
    shutil.rmtree(path, ignore_errors=True)


def _take_static(data_dir: Path) -> None:
    """Static files as an earlier run compressed them; `serve` sees whether they still are right."""
    kept = ROOT / "build" / "static"
    if kept.exists():
        with contextlib.suppress(shutil.Error, OSError):
            shutil.copytree(kept, data_dir / "static")
