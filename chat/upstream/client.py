"""Calls to a gateway: stream a reply, complete a prompt, list the models, ask the balance.

    async with aclosing(client.stream(endpoint, body)) as items:
        async for item in items: ...

One call is one HTTP request. Before Opened it raises GatewayError; after Opened it never does:
whatever happens, what came is given and the last item is End, whose `error` says what was wrong.
Closing the iterator, or cancelling the task that waits for it, closes the connection at once.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing, asynccontextmanager
from datetime import datetime
from decimal import Decimal
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import quote

import httpx
import msgspec

from chat.upstream import listing, refusal
from chat.upstream.body import Body, Clock, Deadlines
from chat.upstream.dialect import MAX_REPLY_BYTES, Delta, End, Item, Reader
from chat.upstream.endpoint import Endpoint
from chat.upstream.errors import GatewayError
from chat.upstream.listing import ModelInfo
from chat.upstream.sse import Parser
from chat.upstream.transport import TRANSPORT_ERRORS, open_client, translate
from chat.upstream.usage import Usage, from_generation

__all__ = ["Client", "Completion", "Deadlines", "End", "Endpoint", "Opened", "Waiting"]

_DEADLINES = Deadlines()
_PIECE_BYTES = 256 * 1024
MAX_BODY_BYTES = 256 * 1024 * 1024
_QUICK_S = 30.0  # a list, a balance


class Opened(msgspec.Struct, frozen=True):
    """A stream has begun: its first byte is here."""

    status: int
    request_id: str | None


class Waiting(msgspec.Struct, frozen=True):
    """Bytes came, but nothing to show; at most one a second."""


Told = Opened | Waiting | Item | End


class Completion(msgspec.Struct, frozen=True):
    """A whole reply; `usage` None is unknown."""

    text: str
    reasoning: str
    finish_reason: str | None
    usage: Usage | None
    request_id: str | None


class Client:
    """All calls of one event loop, over one bounded pool of connections."""

    def __init__(
        self,
        deadlines: Deadlines = _DEADLINES,
        *,
        max_connections: int = 500,
        max_reply_bytes: int = MAX_REPLY_BYTES,
        max_body_bytes: int = MAX_BODY_BYTES,
    ) -> None:
        self._deadlines = deadlines
        self._max_connections = max_connections
        self._max_reply_bytes = max_reply_bytes
        self._max_body_bytes = max_body_bytes
        self._clients: dict[bool, httpx.AsyncClient] = {}

    def stream(self, endpoint: Endpoint, body: Mapping[str, Any]) -> AsyncGenerator[Told, None]:
        """One reply as it comes: Opened, then items, then End."""
        streamed = {**body, "stream": True}
        if endpoint.include_usage:
            streamed.setdefault("stream_options", {"include_usage": True})
        return self._reply(endpoint, streamed)

    async def complete(
        self, endpoint: Endpoint, body: Mapping[str, Any], total_s: float = 120
    ) -> Completion:
        """One reply, whole; GatewayError for any that is not complete."""
        text, reasoning = [], []
        usage: Usage | None = None
        request_id: str | None = None
        error: GatewayError | None = None
        finish_reason: str | None = None
        try:
            async with asyncio.timeout(total_s):
                async for item in self._reply(endpoint, body):
                    match item:
                        case Delta():
                            text.append(item.text)
                            reasoning.append(item.reasoning)
                        case Usage():
                            usage = item
                        case Opened():
                            request_id = item.request_id
                        case End():
                            error, finish_reason = item.error, item.finish_reason
        except TimeoutError as exc:
            raise GatewayError("timeout", reason="total") from exc
        if error:
            raise error
        return Completion("".join(text), "".join(reasoning), finish_reason, usage, request_id)

    async def models(self, endpoint: Endpoint) -> list[ModelInfo]:
        """What the gateway says it offers; it may serve others."""
        return listing.models(await self._ask(endpoint, "models"))

    async def balance(self, endpoint: Endpoint) -> Decimal | None:
        """What is left, in the gateway's currency; None where there is no way to ask."""
        path = _BALANCE_PATHS.get(endpoint.vendor)
        return listing.balance(await self._ask(endpoint, path)) if path else None

    async def generation_usage(self, endpoint: Endpoint, request_id: str) -> Usage | None:
        """What an ended call used in truth, asked afterwards; None where there is no way to ask."""
        if endpoint.vendor != "openrouter" or not request_id.startswith("gen-"):
            return None
        document = await self._ask(endpoint, f"generation?id={quote(request_id, safe='')}")
        return from_generation(document)

    async def clock(self, endpoint: Endpoint) -> datetime | None:
        """What time it is there, to the second; None where its answers carry no date."""
        async with self._exchange(endpoint, "GET", "models", None, self._quick()) as body:
            try:
                return parsedate_to_datetime(body.response.headers.get("Date", ""))
            except ValueError:
                return None

    async def aclose(self) -> None:
        """Close every connection; calls that still run end as dropped."""
        clients = list(self._clients.values())
        self._clients.clear()
        for client in clients:
            await client.aclose()

    async def _reply(
        self, endpoint: Endpoint, body: Mapping[str, Any]
    ) -> AsyncGenerator[Told, None]:
        clock = Clock(self._deadlines)
        reader = Reader(max_reply_bytes=self._max_reply_bytes, secret=endpoint.key)
        asked = msgspec.json.encode(endpoint.fitted(body))
        async with self._exchange(endpoint, "POST", "chat/completions", asked, clock) as chunks:
            opened = Opened(chunks.response.status_code, _request_id(chunks.response))
            head = await chunks.read_head()
            if head.lstrip()[:1] in (b"<", b"{", b"["):
                said = reader.feed_document(await chunks.read_document(head)) + reader.end()
                if reader.error and not reader.outcome().text_seen:
                    raise reader.error
                yield opened
                for item in said:
                    yield item
                yield reader.outcome()
                return
            yield opened
            async with aclosing(self._events(head, chunks, reader, clock)) as events:
                async for event in events:
                    yield event
            yield reader.outcome()
            if reader.is_over:
                await chunks.drain()

    async def _events(
        self, head: bytes, chunks: Body, reader: Reader, clock: Clock
    ) -> AsyncGenerator[Waiting | Item, None]:
        parser = Parser()
        chunk = head
        try:
            while chunk:
                items = reader.feed_all(parser.feed(chunk))
                for item in items:
                    yield item
                if parser.overflowed or chunks.size > self._max_body_bytes:
                    reader.fail(GatewayError("protocol", reason="too_long"))
                # After a gateway's own error usage may follow; garbage is not worth the wait.
                if reader.is_over or (reader.error and reader.error.kind == "protocol"):
                    break
                if clock.note(has_payload=bool(items)):
                    yield Waiting()
                chunk = await chunks.read(reader)
        except GatewayError as error:
            reader.lose(error)
        for item in reader.feed_all(parser.flush()) + reader.end():
            yield item

    async def _ask(self, endpoint: Endpoint, path: str) -> object:
        clock = self._quick()
        async with self._exchange(endpoint, "GET", path, None, clock) as chunks:
            document = await chunks.read_document(await chunks.read_head())
        if isinstance(document, dict) and document.get("error"):
            raise refusal.from_document(document, None, secret=endpoint.key)
        return document

    def _quick(self) -> Clock:
        return Clock(
            Deadlines(self._deadlines.connect_s, _QUICK_S, _QUICK_S, _QUICK_S, 0, _QUICK_S)
        )

    @asynccontextmanager
    async def _exchange(
        self,
        endpoint: Endpoint,
        method: str,
        path: str,
        body: bytes | None,
        clock: Clock,
    ) -> AsyncIterator[Body]:
        """The unread body of a 2xx answer; the connection is closed with the block."""
        response = await self._send(endpoint, method, path, body, clock)
        chunks = Body(response, clock)
        try:
            if not 200 <= response.status_code < 300:
                head = await chunks.read_error()
                headers = {name.lower(): value for name, value in response.headers.items()}
                raise refusal.from_response(response.status_code, headers, head, endpoint.key)
            yield chunks
        finally:
            chunks.close()
            await response.aclose()

    async def _send(
        self,
        endpoint: Endpoint,
        method: str,
        path: str,
        body: bytes | None,
        clock: Clock,
    ) -> httpx.Response:
        client = self._client(endpoint)
        try:
            headers = endpoint.request_headers()
            if body is not None:
                headers |= {"Content-Type": "application/json", "Content-Length": str(len(body))}
            url = f"{endpoint.base_url.rstrip('/')}/{path}"
            request = client.build_request(method, url, headers=headers, content=_content(body))
            if request.url.scheme not in ("http", "https"):
                raise httpx.UnsupportedProtocol("ws:// would be taken too")
            async with asyncio.timeout_at(clock.first_byte_at):
                return await client.send(request, stream=True)
        except TimeoutError as exc:
            raise GatewayError("timeout", reason="first_byte") from exc
        except (*TRANSPORT_ERRORS, ValueError) as exc:
            raise translate(exc) from exc

    def _client(self, endpoint: Endpoint) -> httpx.AsyncClient:
        client = self._clients.get(endpoint.allow_private)
        if not client:
            client = self._clients[endpoint.allow_private] = open_client(
                self._max_connections,
                self._deadlines.connect_s,
                allow_private=endpoint.allow_private,
            )
        return client


def _content(body: bytes | None) -> bytes | AsyncIterator[bytes] | None:
    return _pieces(body) if body and len(body) > _PIECE_BYTES else body


async def _pieces(body: bytes) -> AsyncIterator[bytes]:
    """A large body bit by bit: sent whole it would hold up the event loop."""
    for at in range(0, len(body), _PIECE_BYTES):
        yield body[at : at + _PIECE_BYTES]


def _request_id(response: httpx.Response) -> str | None:
    for name in ("x-generation-id", "x-request-id", "request-id", "cf-ray"):
        if value := response.headers.get(name):
            return str(value)[:200]
    return None


_BALANCE_PATHS = {"aitunnel": "aitunnel/balance", "openrouter": "credits"}
