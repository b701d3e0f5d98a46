"""The least that can show a stream: a page that appends what its socket says, of a server that says it.

No storage, no Markdown, nobody logged in: what the browser, its frames and the loop take by themselves.
"""

import asyncio
import time

from aiohttp import web

_PAGE = """<!doctype html><title>Bare</title>
<div id="messages"><article><div data-part="body"></div></article></div><textarea id="text"></textarea>
<script>
const socket = new WebSocket("/socket")
socket.onopen = () => { document.body.dataset.connection = "live" }
socket.onmessage = ({ data }) => document.querySelector("[data-part=body]").append(data)
document.getElementById("text").addEventListener("keydown", (event) => {
  if (event.key !== "Enter") return
  event.preventDefault()
  fetch("/ask", { method: "POST", body: event.target.value })
})
</script>"""


class BareStream:
    """What `bench._gateway.Stream` is, straight to the page."""

    def __init__(self, socket: web.WebSocketResponse) -> None:
        self.asked_at = time.monotonic()
        self.sent_at: list[float] = []
        self._socket = socket

    async def say_next(self) -> None:
        number = len(self.sent_at)
        self.sent_at.append(time.monotonic())
        await self._socket.send_str(f" W{number}")

    async def end(self) -> None:
        await self._socket.close()


class Bare:
    def __init__(self) -> None:
        self._asked: asyncio.Queue[BareStream] = asyncio.Queue()
        self._socket: web.WebSocketResponse | None = None

    async def listen(self) -> str:
        app = web.Application()
        app.add_routes(
            [
                web.get("/", self._page),
                web.get("/socket", self._follow),
                web.post("/ask", self._ask),
            ]
        )
        runner = web.AppRunner(app)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        return f"http://127.0.0.1:{runner.addresses[0][1]}/"

    async def opened(self) -> BareStream:
        return await asyncio.wait_for(self._asked.get(), 30)

    async def _page(self, _request: web.Request) -> web.Response:
        return web.Response(text=_PAGE, content_type="text/html")

    async def _follow(self, request: web.Request) -> web.WebSocketResponse:
        self._socket = web.WebSocketResponse(compress=False)
        await self._socket.prepare(request)
        async for _ in self._socket:
            pass
        return self._socket

    async def _ask(self, request: web.Request) -> web.Response:
        await request.text()
        assert self._socket is not None
        self._asked.put_nowait(BareStream(self._socket))
        return web.Response(status=204)
