"""A server that the bench owns, with the bench's own process as its gateway."""

import asyncio
import os
import shutil
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from math import ceil
from pathlib import Path

from bench._gateway import Gateway, Stream
from bench._measure import keep_to
from bench._pages import Page
from tests.server import ROOT, Client, Server

SLOTS = 400
# All tabs of a person hear of each change to what is theirs: a hundred of one are nobody's.
TABS_OF_A_PERSON = 4
# Streams wait for the bench, which may be slow to have them all.
PATIENT = {"POTOK_FIRST_BYTE_S": "3600", "POTOK_IDLE_BYTES_S": "3600"}


class Site:
    def __init__(self, server: Server, owner: Client, gateway: Gateway) -> None:
        self.server = server
        self.owner = owner
        self.gateway = gateway
        self._people = [owner]

    async def ask(self, count: int) -> tuple[list[Page], list[Stream]]:
        """So many replies begun, each in a conversation of its own with a page that watches it."""
        people = await self.people(ceil(count / TABS_OF_A_PERSON))
        pages = []
        for number in range(count):
            person = people[number // TABS_OF_A_PERSON]
            asked = await asyncio.to_thread(person.send, f"Question {number}", model="bench")
            pages.append(await Page(person, asked).open())
        streams = await self.gateway.opened(count)
        streams.sort(key=lambda stream: int(stream.question.split()[1]))
        return pages, streams

    async def people(self, count: int) -> list[Client]:
        """So many at least, the owner first; whoever isn't there yet is made."""
        names = [f"reader{number}" for number in range(len(self._people), count)]
        self._people += await asyncio.to_thread(self.server.add_users, names)
        return self._people

    def keep_server_to_one_core(self) -> None:
        """And the bench to the other, so that the two don't wait for each other."""
        if (os.cpu_count() or 1) > 1:
            keep_to(self.server.pid, 0)
            keep_to(os.getpid(), 1)


def with_static(data_dir: Path) -> None:
    """As the tests keep them: to compress them takes longer than all else of a first start."""
    if (ROOT / "build" / "static").exists():
        shutil.copytree(ROOT / "build" / "static", data_dir / "static")


@asynccontextmanager
async def open_site(**env: str) -> AsyncIterator[Site]:
    gateway = Gateway()
    address = await gateway.listen()
    with tempfile.TemporaryDirectory(prefix="potok-bench-") as data_dir:
        keys = {"OPENAI_BASE_URL": address, "OPENAI_API_KEY": "sk-bench", "POTOK_DEMO": "0"}
        with_static(Path(data_dir))
        server = Server(Path(data_dir), keys | PATIENT | env)
        try:
            await asyncio.to_thread(server.start, 300)
            owner = await asyncio.to_thread(server.visitor().set_up)
            widen = f"Gateway.objects.update(slots={SLOTS})"
            await asyncio.to_thread(
                server.manage, "shell", "-v0", "-c", f"from chat.models import Gateway; {widen}"
            )
            yield Site(server, owner, gateway)
        finally:
            server.close()
