"""A socket in this process: the consumer behind its check of origins, as `chat.asgi` puts it up."""

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from asgiref.testing import ApplicationCommunicator
from django.conf import settings
from django.test import Client

from chat.models import User

# Nothing has been collected into it here, and `chat.asgi` looks for it.
Path(settings.STATIC_ROOT).mkdir(parents=True, exist_ok=True)
from chat import asgi  # noqa: E402

DEADLINE_S = 60


def session_of(person: User | None) -> str:
    """The key of a new session of theirs, if they may have one."""
    client = Client()
    if person is not None:
        client.force_login(person)
    cookie = client.cookies.get(settings.SESSION_COOKIE_NAME)
    return cookie.value if cookie else ""


class Line:
    """A socket of this person's; what it says is kept."""

    def __init__(self, session: str, origin: str | None = None) -> None:
        cookie = f"{settings.SESSION_COOKIE_NAME}={session}"
        headers = [(b"cookie", cookie.encode())]
        headers.append((b"origin", (origin or settings.ORIGINS[0]).encode()))
        scope = {"type": "websocket", "path": "/ws/", "headers": headers, "subprotocols": []}
        self._line = ApplicationCommunicator(asgi.sockets["/ws/"], scope)
        self.frames: list[dict[str, Any]] = []
        self.closed: int | None = None

    async def open(self) -> "Line":
        await self._line.send_input({"type": "websocket.connect"})
        await self.listen(lambda: bool(self.frames))
        return self

    async def say(self, frame: dict[str, Any] | str | bytes) -> None:
        """An object as JSON, anything else as it is."""
        told = json.dumps(frame) if isinstance(frame, dict) else frame
        kind = "bytes" if isinstance(told, bytes) else "text"
        await self._line.send_input({"type": "websocket.receive", kind: told})

    async def listen(self, has_enough: Callable[[], bool]) -> None:
        """Until it has said enough, or closes."""
        async with asyncio.timeout(DEADLINE_S):
            while self.closed is None and not has_enough():
                await self._take(await self._line.receive_output(DEADLINE_S))

    async def settle(self) -> None:
        """Until it has answered something that nobody understands, said after all the rest."""
        before = len(self.frames)
        await self.say({"nonsense": 1})
        await self.listen(lambda: any("error" in each for each in self.frames[before:]))

    async def _take(self, event: dict[str, Any]) -> None:
        if event["type"] == "websocket.send":
            frame = json.loads(event["text"])
            self.frames += [] if "beat" in frame else [frame]
        elif event["type"] == "websocket.close":
            self.closed = event.get("code", 1000)

    async def close(self) -> None:
        await self._line.send_input({"type": "websocket.disconnect", "code": 1000})
        await self._line.wait(5)

    @property
    def words(self) -> str:
        return json.dumps(self.frames)
