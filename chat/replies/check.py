"""What an administrator has a gateway asked: which models it lists, whether it answers, what is left.

Synchronous, for a view: each request runs on a client of its own and nothing is held meanwhile.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass
from decimal import Decimal
from functools import partial
from typing import Any, TypeVar

from asgiref.sync import async_to_sync

from chat.models import Call, Gateway, User
from chat.models.budgets import OverBudget
from chat.models.calls import CallEnd
from chat.models.language_models import first_listed
from chat.upstream.client import Client, End, Endpoint
from chat.upstream.errors import GatewayError
from chat.upstream.usage import Usage

from . import weights
from .attempt import reported
from .endpoints import endpoint_of, note_taught
from .listing import as_fields, take_over

T = TypeVar("T")
TOTAL_S = 30.0
MESSAGES = [{"role": "user", "content": "Hi"}]


@dataclass(frozen=True)
class Finding:
    """One thing that was asked: `models`, `answer` or `balance`; with its error, else its result."""

    name: str
    seconds: float = 0.0
    error: GatewayError | None = None
    count: int = 0
    model: str = ""
    balance: Decimal | None = None


def check(gateway: Gateway, user: User, model: str = "") -> list[Finding]:
    """Ask for everything, within TOTAL_S in all; what can't be reached is asked for once."""
    end = time.monotonic() + TOTAL_S
    found = [list_models(gateway, TOTAL_S)]
    if found[0].error and found[0].error.kind in ("auth", "connection", "timeout"):
        return found
    if model := model or _model_to_ask(gateway, user):
        found.append(_answer(gateway, user, model, end - time.monotonic()))
    balance = ask_balance(gateway, max(1.0, end - time.monotonic()))
    return [*found, balance] if balance.error or balance.balance is not None else found


def list_models(gateway: Gateway, within_s: float = TOTAL_S) -> Finding:
    """Take over the gateway's list."""
    began = time.monotonic()
    try:
        listed = _ask(endpoint_of(gateway), Client.models, within_s)
    except GatewayError as error:
        gateway.note_listing_failure(as_fields(error))
        return Finding("models", time.monotonic() - began, error)
    take_over(gateway, listed)
    return Finding("models", time.monotonic() - began, count=len(listed))


def ask_balance(gateway: Gateway, within_s: float = TOTAL_S) -> Finding:
    """Take over what is left; neither error nor balance where there is no way to ask."""
    began = time.monotonic()
    try:
        balance = _ask(endpoint_of(gateway), Client.balance, within_s)
    except GatewayError as error:
        return Finding("balance", time.monotonic() - began, error)
    gateway.note_balance(balance)
    return Finding("balance", time.monotonic() - began, balance=balance)


def _answer(gateway: Gateway, user: User, model: str, within_s: float) -> Finding:
    """Time a call for one token; each try is a call of its own, with its cost."""
    end = time.monotonic() + within_s
    body = {"model": model, "max_tokens": 1, "messages": MESSAGES}
    endpoint = endpoint_of(gateway)
    while True:
        began = time.monotonic()
        error = _call(gateway, endpoint, user, body, end - began)
        seconds = time.monotonic() - began
        taught = endpoint.taught_by(error, body) if error else None
        if taught is None:
            break
        endpoint = taught
    if error is None:
        note_taught(gateway, endpoint, model)
    return Finding("answer", seconds, error, model=model)


def _call(
    gateway: Gateway, endpoint: Endpoint, user: User, body: dict[str, Any], within_s: float
) -> GatewayError | None:
    """One call, accounted; returns what was wrong with it."""
    place = (gateway, body["model"])
    try:
        weigh = partial(weights.of_call, *place, body["messages"], body)
        call = Call.begin_check(user, *place, weigh)
    except OverBudget:
        return GatewayError("bad_request", reason="budget")
    usage: Usage | None = None
    finish_reason = ""

    async def read(client: Client, endpoint: Endpoint) -> GatewayError | None:
        nonlocal usage, finish_reason
        async with aclosing(client.stream(endpoint, body)) as items:
            async for item in items:
                match item:
                    case Usage():
                        usage = item
                    case End():
                        finish_reason = item.finish_reason or ""
                        return item.error
        return None

    try:
        error = _ask(endpoint, read, max(1.0, within_s))
    except GatewayError as exc:
        error = exc
    # A model that thinks first has spent its one token before it wrote anything.
    if error and (error.kind, error.reason) == ("empty", "length"):
        error = None
    facts: dict[str, Any] = reported(usage) if usage else {}
    if error:
        facts |= {"http_status": error.status, "error_kind": error.kind}
        facts["error_message"] = error.message or ""
    Call.end(CallEnd(call.pk, finish_reason=finish_reason[:64], **facts))
    return error


def _model_to_ask(gateway: Gateway, user: User) -> str:
    """The one that writes titles or is the default, else one that has answered, else the first."""
    models = gateway.language_models
    for place in ("is_title_model", "is_default"):
        if chosen := models.filter(**{place: True}).first():
            return chosen.name
    answered = Call.objects.filter(gateway=gateway, error_kind="", ended_at__isnull=False).last()
    return answered.model if answered else first_listed(gateway, user)


def _ask(
    endpoint: Endpoint, request: Callable[[Client, Endpoint], Awaitable[T]], within_s: float
) -> T:
    """Raises GatewayError, TimeoutError never."""

    async def ask() -> T:
        client = Client()
        try:
            async with asyncio.timeout(within_s):
                return await request(client, endpoint)
        except TimeoutError as exc:
            raise GatewayError("timeout", reason="total") from exc
        finally:
            await client.aclose()

    return async_to_sync(ask)()
