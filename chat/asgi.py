"""The ASGI application: Django, and beside it the socket, static files, the built-in gateway."""

import os

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "chat.settings")

import django

django.setup()

from collections.abc import Awaitable, Callable  # noqa: E402
from pathlib import Path  # noqa: E402
from typing import Any  # noqa: E402

from channels.security.websocket import OriginValidator  # noqa: E402
from django.conf import settings  # noqa: E402

from chat.demo.app import create_app  # noqa: E402
from chat.doctor import probe  # noqa: E402
from chat.handler import Handler  # noqa: E402
from chat.page.consumers import Socket, close_all  # noqa: E402
from chat.page.middleware import PROBES  # noqa: E402
from chat.replies.process import process  # noqa: E402
from chat.statics import StaticFiles  # noqa: E402

sockets = {
    "/ws/": OriginValidator(Socket.as_asgi(), settings.ORIGINS),
    probe.SOCKET_PATH: OriginValidator(probe.watch, settings.ORIGINS),
}
demo = create_app(
    settings.DEMO_KEY,
    faults=settings.DEMO == "faults",
    streams_dir=Path(settings.STREAMS_DIR) if settings.STREAMS_DIR else None,
)
statics = StaticFiles()
views = Handler(
    apart=PROBES,
    # Identity providers, and gateways that are tried.
    abroad=("/login/with/", "/settings/connect/", "/admin/chat/gateway/"),
)
process.before_end(close_all)


async def application(
    scope: dict[str, Any],
    receive: Callable[[], Awaitable[Any]],
    send: Callable[[Any], Awaitable[None]],
) -> None:
    if scope["type"] == "http" and scope["path"].startswith("/demo/v1/") and settings.DEMO != "0":
        await demo(scope, receive, send)
        return
    # `serve` has started the process before it listens; under another server the first call does.
    await process.start()
    if scope["type"] == "websocket":
        if opened := sockets.get(scope["path"]):
            await opened(scope, receive, send)
        else:
            await send({"type": "websocket.close"})
    elif statics.answers(scope["path"]):
        await statics(scope, receive, send)
    elif scope["path"] == probe.HTTP_PATH:
        await probe.answer(scope, receive, send)
    else:
        await views(scope, receive, send)
