"""The way from ASGI to Django's views: each request in one thread from a pool of ours.

Django's own handler goes from the loop to a thread and back at each border between them, four times
a request here, in a thread and with a database connection that it makes anew each time. All of our
middleware and views are synchronous: one hop is enough, and threads that stay keep their connection.
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection
from concurrent.futures import ThreadPoolExecutor
from typing import IO, Any

from asgiref.sync import sync_to_async
from django.core import signals
from django.core.exceptions import RequestAborted
from django.core.handlers.asgi import ASGIHandler, ASGIRequest, get_script_prefix
from django.http import HttpResponseBase
from django.urls import set_script_prefix

from chat.replies.database import keep_connection

# So many requests at once, each with a connection; further ones wait for a thread. Python runs one of
# them at a time, and what they wait for is the database.
THREADS = 20
# What waits for another host, by seconds where that one is silent, takes no thread from the others.
THREADS_ABROAD = 6

Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]


class Request(ASGIRequest):
    """A request whose form is UTF-8, whatever it says.

    Django refuses another charset where the form is first looked into: by the error pages as well,
    so that none could be made, and a thousand lines of tracebacks were logged.
    """

    def _set_content_type_params(self, meta: dict[str, Any]) -> None:
        super()._set_content_type_params(meta)
        self._encoding = None


class Handler(ASGIHandler):
    """Django's views.

    `apart`: addresses that have a thread each, so that a full process can still be asked. `abroad`:
    what those begin with whose views wait for another host.
    """

    request_class = Request

    def __init__(self, apart: Collection[str] = (), abroad: tuple[str, ...] = ()) -> None:
        self._threads = _threads(THREADS, "request")
        self._abroad = abroad
        self._threads_abroad = _threads(THREADS_ABROAD, "abroad")
        self._apart = {address: _threads(1, "probe") for address in apart}
        # Not as Django's own does: for a chain that runs in one thread.
        self.load_middleware(is_async=False)

    async def handle(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        try:
            body = await self.read_body(receive)
        except RequestAborted:
            return
        is_abroad = scope["path"].startswith(self._abroad)
        others = self._threads_abroad if is_abroad else self._threads
        threads = self._apart.get(scope["path"], others)
        # It takes the context there and back: what streams speaks the language that the view chose.
        respond = sync_to_async(self._respond, thread_sensitive=False, executor=threads)
        response = await respond(scope, body)
        if not response.streaming:
            await self.send_response(response, send)
            return
        try:
            await self._stream(response, receive, send)
        finally:
            # In the thread that went through it, so that its connection is closed as well.
            await sync_to_async(response.close)()
            body.close()

    def _respond(self, scope: dict[str, Any], body: IO[bytes]) -> HttpResponseBase:
        set_script_prefix(get_script_prefix(scope))
        signals.request_started.send(sender=self.__class__, scope=scope)
        response = None
        try:
            request, refusal = self.create_request(scope, body)
            response = refusal if request is None else self.get_response(request)
            response._handler_class = self.__class__
            if not response.streaming:
                response.close()  # its content stays
            return response
        finally:
            if response is None or not response.streaming:
                body.close()

    async def _stream(self, response: HttpResponseBase, receive: Receive, send: Send) -> None:
        """Until the end, or until there is nobody any more whom it is for."""
        streaming = asyncio.ensure_future(self.send_response(response, send))
        gone = asyncio.ensure_future(receive())
        try:
            await asyncio.wait((streaming, gone), return_when=asyncio.FIRST_COMPLETED)
            if streaming.done():
                streaming.result()
        finally:
            for task in (streaming, gone):
                task.cancel()
            await asyncio.wait((streaming, gone))


def _threads(count: int, name: str) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(count, thread_name_prefix=name, initializer=keep_connection)
