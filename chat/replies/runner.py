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
from collections import Counter, deque
from collections.abc import Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from django.conf import settings
from django.db import DatabaseError, InterfaceError, InternalError, OperationalError

from chat.logs import about
from chat.models import (
    Call,
    Gateway,
    Generation,
    LanguageModel,
    Message,
    bells,
)
from chat.models.budgets import OverBudget, Weight
from chat.models.calls import CallEnd
from chat.models.generations import Outcome, over_budget
from chat.models.language_models import NoAccess, first_listed, routes
from chat.upstream.client import Client, Deadlines, Endpoint
from chat.upstream.errors import GatewayError, retry_delay_s

from . import branch, corrections, prompt, tidying, titles, weights
from .attempt import Attempt
from .checkpoints import Writer
from .database import P, T, in_database
from .endpoints import endpoint_of, note_taught
from .joint import Joint
from .listing import list_models, list_models_of
from .log import Cursor, Logs

logger = logging.getLogger(__name__)
# The last of them: PostgreSQL ended a transaction of ours, as we had left it alone for so long.
AWAY = (OperationalError, InterfaceError, InternalError)
POLL_S = 1.0
# A claim whose answer was lost may be seen some time after the connection was.
LOST_WITHIN_S = 60.0
# At the end of a drain, when no reply runs any more.
SAVED_WITHIN_S = 3.0
LIST_EVERY_S = 24 * 3600.0
# A worker may start before its gateway does, as with the demo's, which the web processes serve.
LIST_AGAIN_AFTER_S = (2.0, 10.0, 60.0, 600.0, 3600.0)
# What another gateway may do better; a request that can't be fulfilled stays one elsewhere.
STANDS_IN_FOR = frozenset(
    ("auth", "balance", "not_found", "rate_limit", "server", "connection", "timeout", "protocol")
)


@dataclass
class Job:
    """All that a claimed reply needs, read in one go."""

    generation: Generation
    message: Message
    # The gateway that was chosen, then those that may stand in for it.
    routes: deque[tuple[Gateway, Endpoint]]
    model: str
    turns: list[prompt.Turn]
    # Beside model and messages, by their names on the wire.
    parameters: dict[str, Any]
    # What budgets hold something for, where they do: gateway and model.
    held_for: tuple[int, str] | None = None
    is_prefilled: bool = False
    # A beginning that came last was refused: it is asked to go on instead.
    refuses_prefill: bool = False

    def body(self, model: str, messages: list[dict[str, str]]) -> dict[str, Any]:
        """Of the request to the gateway that is next."""
        way = self.routes[0][0].continuation
        is_continued = self.generation.kind == "continue" and not self.refuses_prefill
        # The budget may have left no room for the beginning.
        has_beginning = [m["role"] for m in messages[-2:]] == ["assistant", "user"]
        self.is_prefilled = is_continued and has_beginning and way in prompt.PREFILLS
        of_messages = prompt.prefilled(messages, way) if self.is_prefilled else {}
        # No reply may bring more than is held for it.
        allowed = self.generation.allowed_tokens
        limits = {} if allowed is None else {"max_tokens": allowed}
        return {"model": model, "messages": messages} | self.parameters | limits | of_messages

    def weigh(self, model: str, messages: list[dict[str, str]]) -> Weight | None:
        """What has to be held for the next request, where that isn't what was held at the claim."""
        gateway = self.routes[0][0]
        place, self.held_for = self.held_for, None
        if not self.generation.is_charged or place == (gateway.pk, model):
            return None
        return weights.of_call(gateway, model, messages, self.parameters)


@dataclass
class _Running:
    gateway: int
    task: asyncio.Task[None] | None = None
    is_begun: bool = False
    # Why the task was cancelled; None while nobody did.
    ending: Outcome | None = None
    # How it ended is settled, and waits to be saved: nothing from outside changes that.
    is_settled: bool = False
    attempt: Attempt | None = None


@dataclass
class Runner:
    logs: Logs
    owner: str = field(default_factory=lambda: str(uuid.uuid4()))
    is_draining: bool = False

    def __post_init__(self) -> None:
        self._running: dict[int, _Running] = {}
        self.ended: Counter[str] = Counter()  # how many replies ended here, by status
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
        self._claiming: asyncio.Task[None] | None = None
        self._may_own_more_until = 0.0  # by the loop's clock: than is known to run here
        self._asides: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Repair what an earlier process left, then begin to claim."""
        if settings.EMBEDDED:  # there is no other process that may be alive
            swept = await in_database(Generation.sweep)([self.owner], usage=branch.cut_usage)
            if swept:
                logger.warning("%d replies of an earlier process were marked interrupted", swept)
        self._writer.start()
        for group in (bells.RUNNERS, bells.LOST):
            bells.listen(group, self._hear)
        context = contextvars.Context()
        self._claiming = self._loop.create_task(self._claim_forever(), context=context)
        self._tasks = [
            self._claiming,
            self._loop.create_task(self._list_forever(), context=context),
            self._loop.create_task(tidying.tidy_forever(), context=context),
        ]

    async def drain(self, limit_s: float) -> None:
        """Claim nothing more, give what runs `limit_s`, then save it as interrupted."""
        self.is_draining = True
        self._rung.set()
        until = self._loop.time() + limit_s
        if self._claiming:
            # A claim under way may have a row already, which nobody else would look after.
            await asyncio.wait([self._claiming], timeout=limit_s)
        await self._all_end(until - self._loop.time())
        for generation in list(self._running):
            self._end(generation, Outcome("interrupted", error_kind="restart"))
        await self._all_end(SAVED_WITHIN_S)
        for task in [*self._tasks, *self._asides]:
            task.cancel()
        self._writer.close()
        await self._client.aclose()

    async def _all_end(self, within_s: float) -> None:
        running = [r.task for r in self._running.values() if r.task]
        if running:
            await asyncio.wait(running, timeout=max(0.0, within_s))

    @property
    def running(self) -> int:
        return len(self._running)

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
            except (DatabaseError, InterfaceError) as error:
                self._may_own_more_until = self._loop.time() + LOST_WITHIN_S
                # What is queued there waits for it as well.
                logger.warning("Replies can't be claimed without the database: %s", error)
            except Exception:
                self._may_own_more_until = self._loop.time() + LOST_WITHIN_S
                logger.exception("Claiming a reply failed")
            with suppress(TimeoutError):
                await asyncio.wait_for(self._rung.wait(), POLL_S)

    async def _claim(self) -> bool:
        job = None
        if self._loop.time() < self._may_own_more_until:
            job = await in_database(_lost_job)(self.owner, list(self._running))
        if job is None:
            busy = Counter(running.gateway for running in self._running.values())
            job = await in_database(_claim_job)(self.owner, busy)
        if job is None:
            return False
        pk = job.generation.pk
        lengths = (job.generation.saved_reasoning, job.generation.saved_text)
        self.logs.open(Cursor(pk, *lengths))
        self._writer.open(pk, job.generation.fence, lengths)
        running = self._running[pk] = _Running(job.routes[0][0].pk)
        running.task = self._loop.create_task(
            self._run(job, running), context=contextvars.Context(), name=f"reply {pk}"
        )
        return not self.is_draining

    def _hear(self, note: dict[str, Any]) -> None:
        if stopped := note.get("stop"):
            self.stop(stopped)
        if changed := note.get("gateway"):
            self._aside(self._list_one(changed))
        self._rung.set()

    async def _list_forever(self) -> None:
        while True:
            try:
                await self._list_all()
            except Exception:
                logger.exception("Listing the models failed")
            await asyncio.sleep(LIST_EVERY_S)

    async def _list_all(self) -> None:
        silent = await list_models(self._client)
        for wait_s in LIST_AGAIN_AFTER_S:
            if not silent:
                return
            await asyncio.sleep(wait_s)
            silent = await list_models(self._client, silent)

    async def _list_one(self, gateway: int) -> None:
        try:
            await list_models(self._client, [gateway])
        except DatabaseError:
            logger.exception("Listing the models of gateway %d failed", gateway)

    # --- one reply ----------------------------------------------------------------------------

    async def _run(self, job: Job, running: _Running) -> None:
        with about(generation=job.generation.pk):
            await self._run_to_its_end(job, running)

    async def _run_to_its_end(self, job: Job, running: _Running) -> None:
        pk = job.generation.pk
        running.is_begun = True
        try:
            outcome = running.ending or await self._attempts(job, running)
        except asyncio.CancelledError:
            if running.ending is None:
                raise
            outcome = running.ending
        except Exception:
            logger.exception("Generation %d failed through a defect of ours", pk)
            outcome = Outcome("failed", error_kind="internal")
        try:
            end = running.attempt.end(outcome) if running.attempt else None
        except Exception:
            logger.exception("The call of generation %d could not be summed up", pk)
            end = None  # the reply must end all the same
        running.is_settled = True
        if outcome.error_kind:
            logger.info("Generation %d ended %s: %s", pk, outcome.status, outcome.error_kind)
        try:
            await asyncio.shield(asyncio.wrap_future(self._writer.end(pk, outcome, end)))
        finally:
            self._running.pop(pk, None)
            self.ended[outcome.status] += 1
            self.logs.close(pk)
            self._rung.set()
        if self.is_draining:
            return
        if end and end.confidence == "estimated":
            self._aside(corrections.correct(self._client, job.routes[0][1], end))
        if outcome.status == "complete":
            self._aside(titles.give(self._client, job.message.conversation_id))

    async def _attempts(self, job: Job, running: _Running) -> Outcome:
        """Call until there is a reply or a reason; what a reader has seen is never asked for twice."""
        began = time.monotonic()
        number = 0
        try:
            model = job.model or await self._default_model(job)
            messages = prompt.build(job.turns, await self._ask(_budget_tokens, job, model))
        except GatewayError as error:
            return failure(error)
        except prompt.PromptTooLong:
            return failure(GatewayError("bad_request", reason="context_length"))
        while True:
            number += 1
            endpoint = job.routes[0][1]
            try:
                call = await self._ask(_begin, job, model, messages, number)
            except OverBudget as error:
                return over_budget(error)
            joint = Joint(job.message.text) if job.generation.kind == "continue" else None
            running.attempt = attempt = Attempt(
                call.pk, job.generation.pk, self.logs, self._writer, joint
            )
            body = job.body(model, messages)
            try:
                return await attempt.run(self._client, endpoint, body)
            except GatewayError as error:
                outcome = failure(error, attempt.has_text, attempt.finish_reason)
                elapsed_s = time.monotonic() - began
                delay = None if attempt.has_text else _delay_s(error, job, body, number, elapsed_s)
                if delay is None:
                    return outcome
            await self._ask(_note_attempt, job, model, attempt.end(outcome))
            running.attempt = None
            if delay:
                self.logs.tell(job.generation.pk, note=f"retry {number} {time.time() + delay:.0f}")
                await asyncio.sleep(delay)

    async def _default_model(self, job: Job) -> str:
        """The first model that the gateway lists; asked for where the list isn't known yet."""
        gateway, endpoint = job.routes[0]
        asker = job.generation.user
        listed = await self._ask(first_listed, gateway, asker)
        if not listed:
            await list_models_of(self._client, gateway, endpoint)
            listed = await self._ask(first_listed, gateway, asker)
        if not listed and await self._ask(gateway.language_models.exists):
            raise GatewayError("bad_request", reason="model_access")
        if not listed:
            raise GatewayError("not_found", reason="model")
        await self._ask(_note_model, job.message.pk, listed)
        return listed

    async def _ask(self, function: Callable[P, T], *args: P.args, **more: P.kwargs) -> T:
        """Of the database, as soon as it answers: a reply that has begun waits for it."""
        while True:
            try:
                return await in_database(function)(*args, **more)
            except AWAY as error:
                logger.warning("A reply waits for the database: %s", error)
                await asyncio.sleep(POLL_S)

    def _aside(self, work: Coroutine[Any, Any, None]) -> None:
        """Have something done that no reply waits for."""
        task = self._loop.create_task(work, context=contextvars.Context())
        self._asides.add(task)
        task.add_done_callback(self._asides.discard)

    # --- endings that come from outside ---------------------------------------------------------

    def _end(self, generation: int, outcome: Outcome) -> None:
        running = self._running.get(generation)
        if running and running.task and running.ending is None and not running.is_settled:
            running.ending = outcome
            # One that has not begun would be cancelled outside of its own hands, and never end.
            if running.is_begun:
                running.task.cancel()

    def _lose(self, generation: int) -> None:
        """The row is not ours any more: whoever took it has said how it ended."""
        logger.warning("Generation %d was taken from us", generation)
        self._end(generation, Outcome("interrupted", error_kind="crash"))

    def _tell_saved(self, generation: int, saved: bool) -> None:
        if generation in self._running:
            self.logs.tell(generation, saved=saved)

    def _from_thread(self, function: Callable[..., object], *args: object) -> None:
        with suppress(RuntimeError):  # the loop is closed: there is nobody left to tell
            self._loop.call_soon_threadsafe(function, *args)


def failure(error: GatewayError, has_text: bool = False, finish_reason: str = "") -> Outcome:
    """What a reply that met this error is: cut where the way broke, failed where it was refused."""
    was_cut = has_text and error.kind in ("connection", "timeout")
    return Outcome(
        "interrupted" if was_cut else "failed",
        finish_reason=finish_reason,
        error_kind=error.kind,
        error_message=error.message or "",
        error_reason=error.reason or "",
        error_seconds=error.retry_after_s,
    )


def _delay_s(
    error: GatewayError, job: Job, body: dict[str, Any], number: int, elapsed_s: float
) -> float | None:
    """How long to wait before the next attempt, over `job.routes[0]`; None for no further one."""
    gateway, endpoint = job.routes[0]
    if taught := endpoint.taught_by(error, body):
        job.routes[0] = (gateway, taught)
        return 0.0
    if error.kind == "bad_request" and job.is_prefilled:
        job.refuses_prefill = True
        return 0.0
    if error.kind in STANDS_IN_FOR and len(job.routes) > 1:
        job.routes.popleft()
        return 0.0
    return retry_delay_s(error, number, elapsed_s)


def _note_attempt(job: Job, model: str, end: CallEnd) -> None:
    """Record an attempt that brought nothing, and what was learned from it."""
    Call.end(end)
    gateway, endpoint = job.routes[0]
    note_taught(gateway, endpoint, model)
    if gateway.pk != job.message.gateway_id:
        Message.objects.filter(pk=job.message.pk).update(gateway=gateway)


def _lost_job(owner: str, running: list[int]) -> Job | None:
    """Of a claim that was made, and then the database was gone before we heard of it."""
    generation = Generation.unbegun(owner, running)
    return _job(generation) if generation else None


def _claim_job(owner: str, busy: Counter[int]) -> Job | None:
    full = [pk for pk, slots in Gateway.objects.values_list("pk", "slots") if busy[pk] >= slots]
    while generation := Generation.claim(owner, full, weights.of_generation):
        if job := _job(generation):
            return job
    return None


def _job(generation: Generation) -> Job | None:
    """None where it ends before a call can be made."""
    message = generation.message
    try:
        routes = _routes(generation)
    except GatewayError as error:
        Generation.finish(generation.pk, generation.fence, failure(error))
        return None
    held_for = _held_for(generation)
    if routes[0][0].pk != message.gateway_id:
        Message.objects.filter(pk=message.pk).update(gateway=routes[0][0])
    return Job(
        generation=generation,
        message=message,
        routes=routes,
        model=message.model,
        turns=branch.turns(generation),
        parameters=generation.conversation.parameters,
        held_for=held_for,
    )


def _held_for(generation: Generation) -> tuple[int, str] | None:
    place = weights.place_of(generation) if generation.is_charged else None
    return (place[0].pk, place[1]) if place else None


def _begin(job: Job, model: str, messages: list[dict[str, str]], number: int) -> Call:
    """The row of the next request; raises OverBudget."""
    weight = job.weigh(model, messages)
    return Call.begin(job.generation, job.routes[0][0], model, number, weight)


def _routes(generation: Generation) -> deque[tuple[Gateway, Endpoint]]:
    """The gateways that may be asked, in their order; raises GatewayError where there is none."""
    gateway, model, asker = generation.message.gateway, generation.message.model, generation.user
    if gateway is None or not gateway.enabled:
        raise GatewayError("connection", reason="gateway")
    try:
        gateways = routes(asker, gateway, model)
    except NoAccess as error:
        # It may have been kept to some groups since it was asked for.
        raise GatewayError("bad_request", reason="model_access") from error
    found: deque[tuple[Gateway, Endpoint]] = deque()
    for each in gateways:
        with suppress(GatewayError):
            found.append((each, endpoint_of(each)))
    if not found:
        raise GatewayError("auth", reason="sealed")
    return found


def _budget_tokens(job: Job, model: str) -> int | None:
    sizes = LanguageModel.objects.filter(gateway=job.routes[0][0], name=model)
    context = sizes.values_list("context_tokens", flat=True).first()
    return prompt.budget_tokens(context, job.parameters.get("max_tokens"))


def _note_model(message: int, model: str) -> None:
    Message.objects.filter(pk=message).update(model=model)
