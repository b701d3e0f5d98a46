"""chat/handler.py: what a request's thread keeps, what it doesn't, and who hears that a reader left."""

import asyncio
import threading

import pytest
from django.db import connection
from django.http import HttpResponse, StreamingHttpResponse
from django.urls import path
from django.utils import timezone, translation

from chat.handler import THREADS, Handler

pytestmark = pytest.mark.django_db(transaction=True)
_closed, _let_go = threading.Event(), threading.Event()


def where(request):
    """Who serves it, over which connection, and in what language and time zone it begins."""
    connection.ensure_connection()
    facts = [
        threading.current_thread().name,
        id(connection.connection),
        translation.get_language(),
        timezone.get_current_timezone_name(),
    ]
    translation.activate("ru")
    timezone.activate("Asia/Tokyo")
    return HttpResponse(" ".join(map(str, facts)))


def wait(request):
    _let_go.wait(10)
    return HttpResponse()


def fail(request):
    raise RuntimeError


def endless(request):
    translation.activate("ru")

    async def chunks():
        while True:
            yield f"on and on in {translation.get_language()}, ".encode()
            await asyncio.sleep(0)

    response = StreamingHttpResponse(chunks())
    response._resource_closers.append(_closed.set)
    return response


def handler500(request):
    return HttpResponse("sorry", status=500)


urlpatterns = [
    path("where", where),
    path("apart", where),
    path("frozen", wait),
    path("abroad/wait", wait),
    path("abroad/where", where),
    path("wait", wait),
    path("fail", fail),
    path("endless", endless),
]


@pytest.fixture
def handler(settings):
    settings.ROOT_URLCONF = __name__
    settings.MIDDLEWARE = []
    _closed.clear()
    _let_go.clear()
    yield Handler(apart=["/apart", "/frozen"], abroad=("/abroad/",))
    _let_go.set()


class Asked:
    """One GET; `status` and `body` as they come."""

    def __init__(self, handler, address):
        self.status, self.body = None, b""
        self.has_begun, self.gone = asyncio.Event(), asyncio.Event()
        self._is_asked = False
        scope = {
            "type": "http",
            "method": "GET",
            "path": f"/{address}",
            "query_string": b"",
            "headers": [(b"host", b"localhost")],
        }
        self.task = asyncio.create_task(handler(scope, self._receive, self._send))

    async def _receive(self):
        if not self._is_asked:
            self._is_asked = True
            return {"type": "http.request", "body": b""}
        await self.gone.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message):
        self.status = message.get("status", self.status)
        self.body += message.get("body", b"")
        if self.body:
            self.has_begun.set()


async def asked(handler, address):
    request = Asked(handler, address)
    await request.task
    return request


async def test_threads_keep_their_connection_and_nothing_of_the_request_before(handler):
    first = (await asked(handler, "where")).body
    assert b" en UTC" in first
    assert (await asked(handler, "where")).body == first


async def test_requests_run_beside_each_other(handler):
    both = [Asked(handler, "where") for _ in range(2)]
    await asyncio.gather(*(request.task for request in both))
    assert [request.status for request in both] == [200, 200]


async def test_a_full_process_can_still_be_asked_how_it_is(handler):
    waiting = [Asked(handler, "wait") for _ in range(THREADS + 1)]
    waiting.append(Asked(handler, "frozen"))
    assert (await asked(handler, "abroad/where")).status == 200
    assert (await asked(handler, "apart")).status == 200
    assert not any(request.task.done() for request in waiting)
    _let_go.set()
    await asyncio.gather(*(request.task for request in waiting))
    assert {request.status for request in waiting} == {200}


async def test_what_waits_for_another_host_keeps_no_other_request_waiting(handler):
    waiting = [Asked(handler, "abroad/wait") for _ in range(THREADS + 1)]
    assert (await asked(handler, "where")).status == 200
    _let_go.set()
    await asyncio.gather(*(request.task for request in waiting))


async def test_a_view_that_fails_is_answered_and_harms_no_other(handler):
    assert (await asked(handler, "fail")).status == 500
    assert (await asked(handler, "where")).status == 200


async def test_a_stream_ends_when_its_reader_leaves(handler):
    request = Asked(handler, "endless")
    await request.has_begun.wait()
    assert request.body.startswith(b"on and on in ru, ")
    assert not _closed.is_set()
    request.gone.set()
    await asyncio.wait_for(request.task, 5)
    assert _closed.is_set()
