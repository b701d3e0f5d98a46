"""What outlives a round: servers, the gateway, the network between, people; forms.py has the two."""

import asyncio
import contextlib
import filecmp
import shutil
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import httpx
from playwright.async_api import Browser

from tests.chaos.clock import Clock, WallClock
from tests.chaos.dom import parse
from tests.chaos.proxy import Proxy
from tests.gateway import Gateway
from tests.server import PASSWORD, ROOT, Client, Server, free_port

DRAIN_S = 2.0
LEASE_S = 3.0
IDLE_S = 4.0
OWNER, *MEMBERS = "owner", "mira", "oleg"
SETTING_UP = f"""
from django.core.management import call_command
from chat.models import User
call_command("migrate", verbosity=0)
User.create_owner({OWNER!r}, {PASSWORD!r})
for name in {MEMBERS!r}:
    User.objects.create_user(name, password={PASSWORD!r})
"""
KEPT = ROOT / "build" / "static"


class Person:
    """A session: pages go through the proxy, commands take the straight way."""

    def __init__(self, world: "World", name: str, client: Client) -> None:
        self.world = world
        self.client = client
        self.is_member = name in MEMBERS
        self.http = self._way(world.url)
        self.far = self._way(world.proxy.url)

    def _way(self, url: str) -> httpx.AsyncClient:
        return httpx.AsyncClient(
            base_url=url,
            cookies=self.client.cookies,
            headers={"Origin": url, "Accept-Language": "en"},
            timeout=30,
            trust_env=False,
            verify=False,
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


class World(ABC):
    """Use it in `async with`. `url` is where commands go, `front_port` where the proxy leads."""

    form: str
    url: str
    front_port: int

    def __init__(self, browser: Browser | None = None) -> None:
        self.browser = browser  # for rounds with a real page
        # A planted bug: commands that are answered and do nothing.
        self.swallows: Callable[[str], bool] = lambda path: False
        self.people: dict[str, Person] = {}
        self.extra: list[Person] = []

    async def __aenter__(self) -> "World":
        async with contextlib.AsyncExitStack() as stack:
            await self._enter(stack)
            self._stack = stack.pop_all()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._stack.aclose()

    async def _enter(self, stack: contextlib.AsyncExitStack) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="potok-chaos-"))
        stack.callback(shutil.rmtree, self.directory, ignore_errors=True)
        self.gateway = Gateway()
        stack.push_async_callback(asyncio.to_thread, self.gateway.close)
        self._clocks: dict[Server, WallClock] = {}
        self._may_clocks_jump = False
        self.parts = contextlib.ExitStack()
        stack.push_async_callback(asyncio.to_thread, self.parts.close)
        proxy_port = free_port()
        await asyncio.to_thread(self.prepare, proxy_port)
        self.clock = Clock(lambda: [s.pid for s in self.servers if s.is_running])
        stack.callback(self.clock.close)
        self.proxy = Proxy(proxy_port, self.front_port)
        await self.proxy.start()
        stack.push_async_callback(self.proxy.close)
        await asyncio.to_thread(self.server.manage, "shell", "-v0", "-c", SETTING_UP)
        await asyncio.to_thread(self.start)
        await asyncio.to_thread(keep_static, self.server.data_dir)
        await self._enter_people(stack)

    async def _enter_people(self, stack: contextlib.AsyncExitStack) -> None:
        stack.push_async_callback(self._leave_people)
        for name in (OWNER, *MEMBERS):
            self.people[name] = await self.log_in(name)

    async def _leave_people(self) -> None:
        for person in [*self.people.values(), *self.extra]:
            await person.close()

    # --- of each form -------------------------------------------------------------------------

    @abstractmethod
    def prepare(self, proxy_port: int) -> None:
        """Everything but the servers' running; what is to be ended is put in `parts`."""

    @abstractmethod
    def start(self) -> None: ...

    @property
    @abstractmethod
    def server(self) -> Server:
        """One that serves pages."""

    @property
    @abstractmethod
    def servers(self) -> Sequence[Server]:
        """All processes of ours."""

    @abstractmethod
    async def bring_up(self) -> None:
        """Everything runs and answers, whatever a round has left."""

    @abstractmethod
    def rows(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        """What the database says; ? stands for a value."""

    @abstractmethod
    def change(self, query: str, *values: object) -> None:
        """Behind the server's back: what a planted bug would have written."""

    @abstractmethod
    def locked(self) -> AbstractContextManager[bool]:
        """Somebody else holds what replies are written to; whether that is so."""

    @abstractmethod
    def full(self) -> AbstractContextManager[bool]:
        """No byte is left where the database is; whether that is so."""

    # --- what they share ----------------------------------------------------------------------

    async def let_clocks_jump(self, may: bool) -> None:
        """Have the servers run under libfaketime, or not: it takes most of their threads' time."""
        if may == self._may_clocks_jump:
            return
        self._may_clocks_jump = may
        for server, clock in self._clocks.items():
            for name in clock.environment:
                server.env.pop(name, None)
            server.env |= clock.environment if may else {}
            if server.is_running:
                await asyncio.to_thread(server.terminate)
        await self.bring_up()

    def new_server(self, name: str, command: str = "serve", **env: str) -> Server:
        """Not started; with a clock that may be its own."""
        directory = self.directory / name
        directory.mkdir(parents=True, exist_ok=True)
        server = Server(directory, env, command)
        self._clocks[server] = WallClock(self.directory / f"{name}.time")
        self.parts.callback(server.close)
        return server

    def environment(self, *origins: str) -> dict[str, str]:
        return {
            "OPENAI_BASE_URL": self.gateway.url,
            "OPENAI_API_KEY": "sk-test",
            "POTOK_DEMO": "0",
            "POTOK_DRAIN_S": f"{DRAIN_S:g}",
            "POTOK_LEASE_S": f"{LEASE_S:g}",
            "POTOK_FIRST_BYTE_S": f"{2 * IDLE_S:g}",
            "POTOK_IDLE_BYTES_S": f"{IDLE_S:g}",
            "POTOK_URL": ",".join(origins),
        }

    @property
    def log(self) -> str:
        """The last words of each process."""
        lines = [line for s in self.servers for line in s.log[-1500:].splitlines()[-8:]]
        return "\n".join(lines)

    def clock_of(self, server: Server) -> WallClock:
        return self._clocks[server]

    async def log_in(self, name: str) -> Person:
        """A session of its own."""
        client = await asyncio.to_thread(lambda: self.server.visitor().log_in(name))
        return Person(self, name, client)

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


def take_static(data_dir: Path) -> None:
    """Static files as an earlier run compressed them; `serve` sees whether they still are right."""
    if KEPT.exists():
        with contextlib.suppress(OSError):
            shutil.copytree(KEPT, data_dir / "static")


def keep_static(data_dir: Path) -> None:
    """For later runs; to compress them is nearly all of a first start."""
    stamp, kept = data_dir / "static/.collected", KEPT / ".collected"
    if kept.exists() and filecmp.cmp(kept, stamp):
        return
    draft = KEPT.with_name(f"static-{data_dir.parent.name}")
    with contextlib.suppress(OSError):
        shutil.rmtree(KEPT, ignore_errors=True)
        shutil.copytree(data_dir / "static", draft)
        draft.rename(KEPT)
