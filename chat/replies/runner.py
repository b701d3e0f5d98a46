"""The runner: claims queued replies, calls their gateway, feeds their logs and ends them.

A reply belongs to this process and not to a socket or a request. Its task has a context of its own,
is held here, and can be ended in three ways only: the gateway ends it, a person stops it, or the
process goes down. In each case the row is final before the log is closed.
"""

import asyncio
import contextvars
import logging
import time
import uuid
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial

from channels.layers import get_channel_layer
from django.conf import settings

from chat.models import Call, Command, Gateway, Generation, Message, bells
from chat.models.generations import Outcome
from chat.upstream.client import Client, Deadlines, Endpoint
from chat.upstream.errors import GatewayError, retry_delay_s

from . import prompt
from .attempt import Attempt
from .checkpoints import Writer
from .database import in_database
from .endpoints import endpoint_of
from .log import Cursor, MemoryLogs

logger = logging.getLogger(__name__)
POLL_S = 1.0
FORGET_EVERY_S = 3600.0


@dataclass
class Job:
    """All that a claimed reply needs, read in one go."""

    generation: Generation
    message: Message
    gateway: Gateway
    endpoint: Endpoint
    model: str
    turns: list[prompt.Turn]


@dataclass
class _Running:
    gateway: int
    task: asyncio.Task[None] | None = None
    # Why the task was cancelled; None while nobody did.
    ending: Outcome | None = None
    attempt: Attempt | None = None


@dataclass
class Runner:
    logs: MemoryLogs
    owner: str = field(default_factory=lambda: str(uuid.uuid4()))
    is_draining: bool = False

    def __post_init__(self) -> None:
        self._running: dict[int, _Running] = {}
        self._rung = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._writer = Writer(
            self.owner,
            report=partial(self._from_thread, self._tell_saved),
            lost=partial(self._from_thread, self._lose),
            stop=partial(self._from_thread, self.stop),
        )
        self._client = Client(
            Deadlines(
                connect_s=settings.CONNECT_S,
                first_byte_s=settings.FIRST_BYTE_S,
                idle_bytes_s=settings.IDLE_BYTES_S,
                idle_payload_s=settings.IDLE_PAYLOAD_S,
                total_s=settings.TOTAL_S,
            ),
            max_reply_bytes=settings.MAX_REPLY_BYTES,
        )
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def client(self) -> Client:
        return self._client

    async def start(self) -> None:
        """Repair what an earlier process left, then begin to claim."""
        swept = await in_database(Generation.sweep)([self.owner])
        if swept:
            logger.warning("%d replies of an earlier process were marked interrupted", swept)
        await in_database(Command.forget_old)()
        self._writer.start()
        context = contextvars.Context()
        self._tasks = [
            self._loop.create_task(self._claim_forever(), context=context),
            self._loop.create_task(self._listen_forever(), context=context),
        ]

    async def drain(self, limit_s: float) -> None:
        """Claim nothing more, give what runs `limit_s`, then save it as interrupted."""
        self.is_draining = True
        self._rung.set()
        running = [r.task for r in self._running.values() if r.task]
        if running:
            await asyncio.wait(running, timeout=limit_s)
        for generation in list(self._running):
            self._end(generation, Outcome("interrupted", error_kind="restart"))
        running = [r.task for r in self._running.values() if r.task]
        if running:
            await asyncio.wait(running, timeout=3)
        for task in self._tasks:
            task.cancel()
        self._writer.close()
        await self._client.aclose()

    def stop(self, generation: int) -> None:
        """End a running reply on a person's word."""
        self._end(generation, Outcome("stopped"))

    # --- claiming -----------------------------------------------------------------------------

    async def _claim_forever(self) -> None:
        while not self.is_draining:
            self._rung.clear()
            try:
                while await self._claim():
                    pass
            except Exception:
                # The database may be away; what is queued there waits for it as well.
                logger.exception("Claiming a reply failed")
            with suppress(TimeoutError):
                await asyncio.wait_for(self._rung.wait(), POLL_S)

    async def _claim(self) -> bool:
        busy = Counter(running.gateway for running in self._running.values())
        job = await in_database(_claim_job)(self.owner, busy)
        if job is None:
            return False
        pk = job.generation.pk
        lengths = (job.generation.saved_reasoning, job.generation.saved_text)
        self.logs.open(Cursor(pk, *lengths))
        self._writer.open(pk, job.generation.fence, lengths)
        running = self._running[pk] = _Running(job.gateway.pk)
        running.task = self._loop.create_task(
            self._run(job, running), context=contextvars.Context(), name=f"reply {pk}"
        )
        return not self.is_draining

    async def _listen_forever(self) -> None:
        layer = get_channel_layer()
        channel = await layer.new_channel("runner")
        await layer.group_add(bells.RUNNERS, channel)
        while True:
            note = await layer.receive(channel)
            if stopped := note.get("stop"):
                self.stop(stopped)
            self._rung.set()

    # --- one reply ----------------------------------------------------------------------------

    async def _run(self, job: Job, running: _Running) -> None:
        pk = job.generation.pk
        try:
            outcome = await self._attempts(job, running)
        except asyncio.CancelledError:
            if running.ending is None:
                raise
            outcome = running.ending
        except Exception:
            logger.exception("Generation %d failed through a defect of ours", pk)
            outcome = Outcome("failed", error_kind="internal")
        end = running.attempt.end(outcome) if running.attempt else None
        if end and outcome.error_kind:
            logger.info("Generation %d ended %s: %s", pk, outcome.status, outcome.error_kind)
        try:
            await asyncio.shield(asyncio.wrap_future(self._writer.end(pk, outcome, end)))
        finally:
            self._running.pop(pk, None)
            self.logs.close(pk)
            self._rung.set()

    async def _attempts(self, job: Job, running: _Running) -> Outcome:
        """Call until there is a reply or a reason; what a reader has seen is never asked for twice."""
        began = time.monotonic()
        number = 1
        try:
            model = job.model or await self._default_model(job)
            messages = prompt.build(job.turns)
        except GatewayError as error:
            return failure(error)
        while True:
            call = await in_database(Call.begin)(job.generation, model, number)
            running.attempt = attempt = Attempt(call.pk, job.generation.pk, self.logs, self._writer)
            body = {"model": model, "messages": messages}
            try:
                return await attempt.run(self._client, job.endpoint, body)
            except GatewayError as error:
                outcome = failure(error, attempt.has_text)
                if attempt.has_text:
                    return outcome
                if error.reason == "include_usage" and job.endpoint.include_usage:
                    await in_database(_forget_include_usage)(job.gateway)
                    job.endpoint = replace(job.endpoint, include_usage=False)
                    delay: float | None = 0.0
                else:
                    delay = retry_delay_s(error, number, time.monotonic() - began)
                    number += 1
                if delay is None:
                    return outcome
                await in_database(Call.end)(attempt.end(outcome))
                running.attempt = None
                if delay:
                    self.logs.tell(
                        job.generation.pk, note=f"retry {number} {time.time() + delay:.0f}"
                    )
                    await asyncio.sleep(delay)

    async def _default_model(self, job: Job) -> str:
        """The first model that the gateway lists; asked for where the list isn't known yet."""
        listed = await in_database(job.gateway.default_model)()
        if not listed:
            names = [model.id for model in await self._client.models(job.endpoint)]
            await in_database(job.gateway.replace_models)(names)
            listed = names[0] if names else ""
        if not listed:
            raise GatewayError("not_found", reason="model")
        await in_database(_note_model)(job.message.pk, listed)
        return listed

    # --- endings that come from outside ---------------------------------------------------------

    def _end(self, generation: int, outcome: Outcome) -> None:
        running = self._running.get(generation)
        if running and running.task and running.ending is None:
            running.ending = outcome
            running.task.cancel()

    def _lose(self, generation: int) -> None:
        """The row is not ours any more: whoever took it has said how it ended."""
        logger.warning("Generation %d was taken from us", generation)
        self._end(generation, Outcome("interrupted", error_kind="crash"))

    def _tell_saved(self, generation: int, saved: bool) -> None:
        if generation in self._running:
            self.logs.tell(generation, saved=saved)

    def _from_thread(self, function, *args) -> None:  # type: ignore[no-untyped-def]
        with suppress(RuntimeError):  # the loop is closed: there is nobody left to tell
            self._loop.call_soon_threadsafe(function, *args)


def failure(error: GatewayError, has_text: bool = False) -> Outcome:
    """What a reply that met this error is: cut where the way broke, failed where it was refused."""
    was_cut = has_text and error.kind in ("connection", "timeout")
    return Outcome(
        "interrupted" if was_cut else "failed",
        error_kind=error.kind,
        error_message=error.message or "",
        error_reason=error.reason or "",
        error_seconds=error.retry_after_s,
    )


def _claim_job(owner: str, busy: Counter[int]) -> Job | None:
    full = [pk for pk, slots in Gateway.objects.values_list("pk", "slots") if busy[pk] >= slots]
    generation = Generation.claim(owner, full)
    if generation is None:
        return None
    message = generation.message
    gateway = message.gateway
    if gateway is None or not gateway.enabled:
        Generation.finish(
            generation.pk,
            generation.fence,
            Outcome("failed", error_kind="connection", error_reason="gateway"),
        )
        return _claim_job(owner, busy)
    return Job(
        generation=generation,
        message=message,
        gateway=gateway,
        endpoint=endpoint_of(gateway),
        model=message.model,
        turns=generation.turns(),
    )


def _note_model(message: int, model: str) -> None:
    Message.objects.filter(pk=message).update(model=model)


def _forget_include_usage(gateway: Gateway) -> None:
    Gateway.objects.filter(pk=gateway.pk).update(takes_include_usage=False)
