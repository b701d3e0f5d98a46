"""A scripted OpenAI-compatible gateway on a real port: every byte and every close is the test's.

    with Gateway() as gateway:
        gate = gateway.gate()
        gateway.reply("Hello ", gate, "world", usage={"prompt_tokens": 3, ...})
        ...                                   # the code under test asks
        call = gateway.wait_for_request()     # .json, .headers, .text (sent so far)
        gate.wait_reached()                   # "Hello " has left, "world" has not
        gate.open()
        call.wait_closed()

An answer is a list of steps (tests/script.py); an unscripted chat request gets DEFAULT_REPLY.
Queued scripts are used in order, each once: the first one whose path and `when` fit.
"""

import asyncio
import socket
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from tests.connection import Call, Connection
from tests.script import DONE, MODEL, Gate, Step, answer, chunk, envelope, usage_chunk, usage_of

CHAT = "/v1/chat/completions"
DEFAULT_REPLY = "Hello from the scripted gateway."


class Gateway:
    """Serves on loopback in a thread of its own; close() (or leaving `with`) ends it."""

    def __init__(self, port: int = 0) -> None:
        self.models: list[dict[str, object]] = [{"id": MODEL, "object": "model"}]
        self.requests: list[Call] = []
        self.failures: list[BaseException] = []
        self._scripts: list[_Script] = []
        self._changed = threading.Condition()
        self._loop = asyncio.new_event_loop()
        self._connections: set[asyncio.Task[None]] = set()
        # Bound before the thread starts: from here on a client can connect.
        self._socket = socket.create_server(("127.0.0.1", port))
        self.port = self._socket.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}/v1"
        self._thread = threading.Thread(target=self._serve, name="gateway", daemon=True)
        self._thread.start()

    def __enter__(self) -> "Gateway":
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._stopping.set)
            self._thread.join()

    def reset(self) -> None:
        """Forget scripts, models, requests and failures, and drop whatever is still being answered."""
        with self._changed:
            self._scripts, self.requests, self.failures = [], [], []
            self.models = [{"id": MODEL, "object": "model"}]
        asyncio.run_coroutine_threadsafe(self._drop_all(), self._loop).result(10)

    # --- what a test says ---

    def gate(self) -> Gate:
        return Gate(self._loop)

    def script(
        self, *steps: Step, path: str = CHAT, when: Callable[[Call], bool] | None = None
    ) -> None:
        """Queue these steps for one request to `path` for which `when` is true."""
        with self._changed:
            self._scripts.append(_Script(steps, path, when or (lambda call: True)))

    def reply(
        self,
        *steps: Step,
        finish: str = "stop",
        usage: Mapping[str, object] | None = None,
        when: Callable[[Call], bool] | None = None,
    ) -> None:
        """Queue a well-formed stream: the steps, the finish, the usage if given, [DONE]."""
        end = [chunk({}, finish), usage_chunk(usage) if usage else b"", DONE]
        self.script(chunk({"role": "assistant", "content": ""}), *steps, *end, when=when)

    def refuse(
        self,
        status: int,
        body: object = "",
        headers: Mapping[str, str] | None = None,
        path: str = CHAT,
    ) -> None:
        """Queue a whole answer that is no stream."""
        self.script(*answer(status, body, headers), path=path)

    # --- what a test asks ---

    @property
    def calls(self) -> list[Call]:
        """The chat requests so far."""
        with self._changed:
            return [call for call in self.requests if call.path == CHAT]

    @property
    def unused(self) -> int:
        """How many queued scripts no request has used."""
        with self._changed:
            return len(self._scripts)

    def wait_for_request(self, number: int = 1, deadline_s: float = 10) -> Call:
        """The chat request with this number, from 1, once it is here."""
        with self._changed:
            here = self._changed.wait_for(lambda: len(self.calls) >= number, deadline_s)
            assert here, f"{len(self.calls)} chat requests came, not {number}"
            return self.calls[number - 1]

    # --- the thread ---

    def _serve(self) -> None:
        self._stopping = asyncio.Event()
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_until_complete(self._accept())
        finally:
            self._loop.close()

    async def _accept(self) -> None:
        server = await self._loop.create_server(
            lambda: Connection(self._steps, self._adopt), sock=self._socket
        )
        await self._stopping.wait()
        server.close()
        await self._drop_all()

    async def _drop_all(self) -> None:
        for task in self._connections:
            task.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    def _adopt(self, task: asyncio.Task[None]) -> None:
        self._connections.add(task)
        task.add_done_callback(self._part)

    def _part(self, task: asyncio.Task[None]) -> None:
        self._connections.discard(task)
        if not task.cancelled() and (exc := task.exception()):
            self.failures.append(exc)

    def _steps(self, call: Call) -> tuple[Step, ...]:
        """Record the call; its script, else the default answer of its path."""
        with self._changed:
            self.requests.append(call)
            self._changed.notify_all()
            for script in self._scripts:
                if script.path == call.path and script.when(call):
                    self._scripts.remove(script)
                    return script.steps
        if call.path == "/v1/models":
            return tuple(answer(200, {"object": "list", "data": self.models}))
        if call.path != CHAT:
            return tuple(answer(404, {"error": {"message": "no such path"}}))
        if not call.json.get("stream"):
            message = {"role": "assistant", "content": DEFAULT_REPLY}
            choice = {"index": 0, "message": message, "finish_reason": "stop"}
            body = envelope("chat.completion", choices=[choice], usage=usage_of(9, 6))
            return tuple(answer(200, body))
        return (DEFAULT_REPLY, chunk({}, "stop"), usage_chunk(usage_of(9, 6)), DONE)


@dataclass(frozen=True)
class _Script:
    steps: tuple[Step, ...]
    path: str
    when: Callable[[Call], bool]
