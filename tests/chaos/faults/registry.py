"""The faults by name, which of them may meet, and what they share."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import httpx

from tests.chaos import replies

if TYPE_CHECKING:
    from tests.chaos.replies import Reply
    from tests.chaos.rounds import Round
    from tests.chaos.scaled import Scaled
    from tests.chaos.world import Person

Strike = Callable[["Round"], Awaitable[object]]
BAD_ENDS = sorted(set(replies.ENDS) - set(replies.GOOD))


@dataclass(frozen=True)
class Fault:
    name: str
    group: str
    promises: tuple[str, ...]
    strike: Strike
    form: str = ""  # of the one that knows it; else of both
    gateway_ends: bool = False
    outlasts: bool = False  # replies are to run longer than it acts

    def ends(self, rng: random.Random) -> list[str]:
        """How streams of this round end, where that is the fault."""
        return rng.sample(BAD_ENDS, 2) if self.gateway_ends else []


FAULTS: dict[str, Fault] = {}


def fault(name: str, group: str, *promises: str, **how: Any) -> Callable[[Strike], Strike]:
    def note(strike: Strike) -> Strike:
        FAULTS[name] = Fault(name, group, promises, strike, **how)
        return strike

    return note


def known(form: str) -> list[str]:
    """The names of the faults of a form."""
    return sorted(name for name, fault in FAULTS.items() if fault.form in ("", form))


def choose(form: str, seed: int, number: int, rng: random.Random) -> list[Fault]:
    """One fault, or two that may meet. Of as many rounds as there are faults each begins one."""
    names = known(form)
    order = random.Random(seed).sample(names, len(names))
    first = FAULTS[order[number % len(order)]]
    if rng.random() < 0.5:
        return [first]
    may = [name for name in names if _may_meet(first, FAULTS[name])]
    return [first, FAULTS[rng.choice(may)]] if may else [first]


AWAY = {"process", "database", "network", "redis"}
# What has no deadline of its own that a machine, a database or Redis away could not keep.
PATIENT = ("double click", "two tabs")
# The first have faults of their own, such as `SIGKILL while locked`; a reader has to ask; and
# without both of the last two nobody can show anything.
APART = [
    {"process", "database"},
    {"process", "reader"},
    {"database", "reader"},
    {"redis", "reader"},
    {"redis", "database"},
    {"command", "clock"},
]


def _may_meet(one: Fault, other: Fault) -> bool:
    groups = {one.group, other.group}
    if one.group == other.group or groups in APART:
        return False
    # Commands don't pass the network that is cut, but they do pass nginx.
    proxy_goes = any(each.name.startswith("nginx") for each in (one, other))
    if "reader" in groups and proxy_goes:
        return False
    if "command" in groups and (proxy_goes or groups & {"process", "database", "redis"}):
        command = one if one.group == "command" else other
        return command.name in PATIENT
    return True


async def nap(r: Round, least: float, most: float) -> float:
    seconds = r.rng.uniform(least, most)
    await asyncio.sleep(seconds)
    return seconds


def allow(r: Round, status: str, kind: str | None) -> None:
    for reply in r.replies:
        reply.allowed.add((status, kind))


def scaled(r: Round) -> Scaled:
    """The world of a fault whose form is scaled."""
    return cast("Scaled", r.world)


# --- what strikes share -----------------------------------------------------------------------


async def come_back(r: Round, promise: str = "D3") -> None:
    """What was away is back; where two things were away, the round looks after the last."""
    if len({fault.group for fault in r.faults} & AWAY) == 1:
        await r.caught_up(promise)


async def send(person: Person, path: str, fields: dict[str, str]) -> str:
    """Again until it is taken, as a person would; the address it leads to."""
    while True:
        try:
            answer = await person.post(path, **fields)
        except httpx.TransportError:
            await asyncio.sleep(0.2)
            continue
        if answer.status_code >= 500:
            await asyncio.sleep(0.2)
            continue
        assert answer.status_code == 303, f"{path} was answered {answer.status_code}"
        return str(answer.headers["Location"])


def has_ended(reply: Reply) -> bool:
    return bool(reply.calls) and reply.calls[-1]._answered.is_set()


async def messages_of(r: Round, reply: Reply) -> list[dict[str, Any]]:
    async def probe() -> dict[str, Any] | None:
        return await reply.person.export(reply.conversation)

    exported = await r.world.clock.until(probe, 30)
    return exported["messages"] if exported else []


def target(r: Round) -> Reply:
    """A reply that runs now, if one does, and isn't the only one in a conversation of several."""
    running = [reply for reply in r.replies if r.is_running(reply)]
    return r.rng.choice(running or r.replies)


async def is_closed(r: Round, reply: Reply, moment: float, within_s: float, promise: str) -> None:
    """The gateway saw the connection close in time, or had sent everything before."""
    if not reply.calls:
        return
    call = reply.calls[-1]
    closed = await r.world.clock.until(
        lambda: call.closed_by_client or call._answered.is_set(), within_s
    )
    if not closed:
        late = time.monotonic() - moment
        r.breaks(promise, f"the gateway's connection of {reply.token} is open {late:.1f} s later")
