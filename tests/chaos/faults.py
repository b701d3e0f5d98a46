"""What goes wrong. A fault strikes a round, sees that it did, and brings things back.

`strike` returns what proves that it acted (falsy: it did not), and tells the round what may come of
it. Faults of one group don't strike the same round; see `choose` for who may meet whom.
"""

from __future__ import annotations

import asyncio
import random
import signal
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING
from uuid import UUID

import httpx

from tests.chaos import replies
from tests.chaos.world import DRAIN_S, IDLE_S
from tests.server import ENDED

if TYPE_CHECKING:
    from tests.chaos.page import Page
    from tests.chaos.replies import Reply
    from tests.chaos.rounds import Round, Watched

WINDOW_CHARS = 256 * 1024
LARGEST_FRAME_CHARS = 128 * 1024
Strike = Callable[["Round"], Awaitable[object]]
BAD_ENDS = sorted(set(replies.ENDS) - set(replies.GOOD))


@dataclass(frozen=True)
class Fault:
    name: str
    group: str
    promises: tuple[str, ...]
    strike: Strike
    gateway_ends: bool = False
    outlasts: bool = False  # replies are to run longer than it acts

    def ends(self, rng: random.Random) -> list[str]:
        """How streams of this round end, where that is the fault."""
        return rng.sample(BAD_ENDS, 2) if self.gateway_ends else []


FAULTS: dict[str, Fault] = {}


def fault(name: str, group: str, *promises: str, **how: bool) -> Callable[[Strike], Strike]:
    def note(strike: Strike) -> Strike:
        FAULTS[name] = Fault(name, group, promises, strike, **how)
        return strike

    return note


def choose(seed: int, number: int, rng: random.Random) -> list[Fault]:
    """One fault, or two that may meet. Of as many rounds as there are faults each begins one."""
    order = random.Random(seed).sample(sorted(FAULTS), len(FAULTS))
    first = FAULTS[order[number % len(order)]]
    if rng.random() < 0.5:
        return [first]
    may = [f for f in FAULTS.values() if _may_meet(first, f)]
    return [first, rng.choice(sorted(may, key=lambda f: f.name))] if may else [first]


AWAY = {"process", "database", "network"}
# What has no deadline of its own that a machine or database away could not keep.
PATIENT = ("double click", "two tabs")


def _may_meet(one: Fault, other: Fault) -> bool:
    groups = {one.group, other.group}
    if one.group == other.group:
        return False
    # The first have faults of their own, such as `SIGKILL while locked`; a reader has to ask.
    if groups in ({"process", "database"}, {"process", "reader"}, {"database", "reader"}):
        return False
    if "command" in groups and groups & {"process", "database"}:
        command = one if one.group == "command" else other
        return command.name in PATIENT
    return True


async def _nap(r: Round, least: float, most: float) -> float:
    seconds = r.rng.uniform(least, most)
    await asyncio.sleep(seconds)
    return seconds


def _allow(r: Round, status: str, kind: str | None) -> None:
    for reply in r.replies:
        reply.allowed.add((status, kind))


# --- the process ------------------------------------------------------------------------------


async def _kill(r: Round, past_sockets: Mapping[Page, int] = MappingProxyType({})) -> int:
    """SIGKILL; what its readers saw half a second before has to be in the row.

    past_sockets: how many sockets each page had to earlier processes; what came through them, and
    may still come when that process is gone, was theirs to save.
    """
    pid = r.world.server.pid
    _allow(r, "interrupted", "crash")
    moment = r.world.clock.now
    await asyncio.to_thread(r.world.server.kill)
    for tab in r.tabs:
        past = past_sockets.get(tab.page, 0)
        tab.reply.had.append(tab.page.seen_until(tab.reply.message, moment - 0.5, past))
    assert not r.world.server.is_running
    return pid


@fault("SIGKILL", "process", "D1", "D3", "D6")
async def kill(r: Round) -> object:
    pid = await _kill(r)
    await _nap(r, 0, 1.5)
    await _start(r, "D1")
    return pid


async def _start(r: Round, promise: str) -> None:
    was_streaming = {
        row[0] for row in r.world.rows("SELECT id FROM chat_generation WHERE status = 'streaming'")
    }
    await asyncio.to_thread(r.world.server.start)
    await _return(r)

    def left() -> set[int]:
        rows = r.world.rows("SELECT id FROM chat_generation WHERE status = 'streaming'")
        return {row[0] for row in rows} & was_streaming

    if await r.world.clock.until(lambda: not left(), 15) is None:
        r.breaks(promise, f"generations {left()} of a dead process still stream after 15 s")


@fault("SIGKILL twice", "process", "D1", "D3", "D6")
async def kill_twice(r: Round) -> object:
    """The second one while it starts, or soon after."""
    pid = await _kill(r)
    sockets = {tab.page: tab.page.opens for tab in r.tabs}
    r.world.server.launch()
    await _nap(r, 0, 2.5)
    await _kill(r, sockets)
    await _start(r, "D1")
    return pid


@fault("SIGTERM", "process", "D2", "D3", "D6")
async def terminate(r: Round) -> object:
    server, clock = r.world.server, r.world.clock
    _allow(r, "interrupted", "restart")
    live = [tab for tab in r.tabs if tab.page.connection == "live"]
    closes = {id(tab): len(tab.page.closes) for tab in live}
    pid = server.pid
    server.signal(signal.SIGTERM)
    began = clock.now
    probing = asyncio.create_task(_probe_drain(r))
    if not await clock.until(lambda: not server.is_running, DRAIN_S + 5):
        r.breaks("D2", f"{DRAIN_S + 5:g} s after SIGTERM the process still runs")
        await asyncio.to_thread(server.kill)
    took_s = clock.now - began
    if code := server.wait(1):
        r.breaks("D2", f"the process ended with {code} after {took_s:.1f} s")
    await probing
    await asyncio.sleep(0.2)
    if not r.has("network"):
        for tab in live:
            codes = [code for _, code in tab.page.closes[closes[id(tab)] :]]
            if codes[:1] != [1012] and tab.page.connection not in ("over", "gone"):
                r.breaks("D2", f"a page was closed with {codes or 'nothing'}, not 1012")
    await _nap(r, 0, 1)
    await _start(r, "D2")
    return pid


async def _probe_drain(r: Round) -> None:
    """From a second after SIGTERM at the latest, sends are refused; once refused, always."""
    person, refused, began = r.world.people["owner"], False, r.world.clock.now
    while r.world.server.is_running:
        is_due = refused or r.world.clock.now - began > 1.0
        try:
            answer = await person.post("/messages/", text="")  # empty: 422, were it taken
        except httpx.TransportError:
            return
        if answer.status_code == 503:
            refused = True
            if not answer.headers.get("Retry-After"):
                r.breaks("D2", "a send was refused without Retry-After")
        elif is_due:
            r.breaks("D2", f"a send during the drain was answered {answer.status_code}")
            return
        await asyncio.sleep(0.1)


@fault("SIGKILL while locked", "process", "D1", "D3", "D6", "D9")
async def kill_locked(r: Round) -> object:
    """What nobody could save is lost, but nothing else: the row stays a prefix, the end comes."""
    with r.world.locked():
        await _nap(r, 0.3, 3)
        for reply in r.replies:
            reply.allowed.add(("interrupted", "crash"))
        await asyncio.to_thread(r.world.server.kill)
        # The next one starts into the lock.
        r.world.server.launch()
        await _nap(r, 0.5, 3)
    await r.world.clock.until(_answers(r), 30)
    await _start_over(r)
    return True


def _answers(r: Round) -> Callable[[], Awaitable[bool]]:
    async def answers() -> bool:
        try:
            return (await r.world.people["owner"].http.get("/healthz")).status_code == 200
        except httpx.TransportError:
            return False

    return answers


async def _start_over(r: Round) -> None:
    if not r.world.server.is_running:
        r.breaks("D9", "the server did not come up while the database was locked for a while")
        await asyncio.to_thread(r.world.server.start)
    await _return(r)


@fault("SIGTERM while locked", "process", "D2", "D9")
async def terminate_locked(r: Round) -> object:
    server, clock = r.world.server, r.world.clock
    _allow(r, "interrupted", "restart")
    _allow(r, "interrupted", "crash")  # it had to end before it could write
    with r.world.locked():
        await _nap(r, 0.1, 2)
        server.signal(signal.SIGTERM)
        seconds = r.rng.uniform(0.5, DRAIN_S + 6)
        if seconds > DRAIN_S + 5:
            ended = await clock.until(lambda: not server.is_running, DRAIN_S + 5)
            if not ended:
                r.breaks("D2", f"{DRAIN_S + 5:g} s after SIGTERM under a lock it still runs")
        else:
            await asyncio.sleep(seconds)
    if not await clock.until(lambda: not server.is_running, DRAIN_S + 5):
        r.breaks("D2", "the process still runs though the lock is gone")
        await asyncio.to_thread(server.kill)
    await _start(r, "D2")
    return True


# --- the database -----------------------------------------------------------------------------


@fault("database locked", "database", "D9", "D3")
async def lock(r: Round) -> object:
    with r.world.locked():
        if not r.world.is_locked:
            return False
        await _without_database(r, r.rng.uniform(0.3, 4))
    return True


@fault("database locked for long", "database", "D9", "D3", outlasts=True)
async def lock_for_long(r: Round) -> object:
    with r.world.locked():
        if not r.world.is_locked:
            return False
        await _without_database(r, r.rng.uniform(5.6, 8))
    return True


@fault("disk full", "database", "D9", "D3")
async def fill(r: Round) -> object:
    """Of a disk of our own; nothing is proved where there is none (tmpfs takes root)."""
    if not r.world.is_small_disk:
        return False
    with r.world.full():
        if r.world.free_bytes:
            return False
        await _without_database(r, r.rng.uniform(0.3, 7))
    return True


async def _without_database(r: Round, seconds: float) -> None:
    """Replies go on in view, their pages say within 5 s that they aren't saved, and none is lost."""
    watched = [
        tab
        for tab in r.tabs
        if r.is_running(tab.reply) and not r.has("network") and not tab.reply.is_gone
    ]
    before = {id(tab): _shown(tab) for tab in watched}
    sent = {id(tab): sum(map(len, tab.reply.sent)) for tab in watched}
    opens = {id(tab): tab.page.opens for tab in watched}
    began = r.world.clock.now
    await asyncio.sleep(seconds)
    lasted_s = r.world.clock.now - began
    for tab in watched:
        reply = tab.reply
        went_on = sum(map(len, reply.sent)) > sent[id(tab)] + 50
        if lasted_s > 1 and went_on and _shown(tab) == before[id(tab)]:
            r.breaks("D9", f"{reply.token} did not go on in view while the database was away")
        lasts = tab.page.status_of(reply.message) == "streaming" and not _has_ended(reply)
        if lasts and lasted_s > 5.2 and reply.message not in tab.page.unsaved_at:
            r.breaks("D9", f"{reply.token} is not saved for {lasted_s:.1f} s, and nobody was told")
        if tab.page.opens != opens[id(tab)] and not r.has("command"):
            r.breaks("D9", f"a page of {reply.token} lost its socket while the database was away")


def _shown(tab: Watched) -> tuple[int, int]:
    return tab.page.seen[tab.reply.message][-1][:2]


def _has_ended(reply: Reply) -> bool:
    return bool(reply.calls) and reply.calls[-1]._answered.is_set()


# --- the network between page and server ------------------------------------------------------


@fault("network cut", "network", "D3")
async def cut(r: Round) -> object:
    r.world.proxy.is_refusing = True
    cut = r.world.proxy.cut()
    await _nap(r, 0, 4)
    r.world.proxy.is_refusing = False
    await _return(r)
    return cut


@fault("network cut again and again", "network", "D3")
async def flap(r: Round) -> object:
    cut = 0
    for _ in range(r.rng.randint(3, 8)):
        cut += r.world.proxy.cut()
        await _nap(r, 0, 0.8)
    await _return(r)
    return cut


@fault("network frozen", "network", "D3")
async def freeze(r: Round) -> object:
    frozen = r.world.proxy.freeze()
    # Past 8 s a page has given the connection up.
    await _nap(r, *r.rng.choice([(0.5, 3), (8.2, 11)]))
    r.world.proxy.thaw()
    await _return(r)
    return frozen


@fault("network slow", "network", "D3")
async def slow(r: Round) -> object:
    r.world.proxy.bytes_per_s = r.rng.uniform(1500, 30_000)
    await _nap(r, 2, 5)
    r.world.proxy.bytes_per_s = None
    # What was on its way at that pace has to arrive first.
    await asyncio.sleep(0.5)
    await _return(r)
    return r.world.proxy.connections


async def _return(r: Round) -> None:
    """What was away is back; where two things were away, the round looks after the last."""
    if len({fault.group for fault in r.faults} & AWAY) == 1:
        await r.caught_up("D3")


@fault("reload storm", "network", "D3")
async def reload(r: Round) -> object:
    rng = random.Random(r.rng.random())

    async def storm(tab) -> None:  # type: ignore[no-untyped-def]
        for _ in range(rng.randint(3, 8)):
            await tab.page.reload()
            await asyncio.sleep(rng.uniform(0, 0.3))

    opens = sum(tab.page.opens for tab in r.tabs)
    await asyncio.gather(*map(storm, list(r.tabs)))
    await _return(r)
    return sum(tab.page.opens for tab in r.tabs) > opens


@fault("50 reconnects", "network", "D3")
async def reconnect(r: Round) -> object:
    tab = r.rng.choice(r.tabs)
    lost = 0
    for _ in range(50):
        if tab.page.connection == "live":
            tab.page.reconnect()
            lost += 1
        await asyncio.sleep(0.05)
        tab.page.hurry()
    await _return(r)
    return lost >= 10


@fault("a reader that never acknowledges", "reader", "D3")
async def mute(r: Round) -> object:
    """It is sent a window of text and no more; once it speaks, it gets all the rest."""
    reply = await r.ask(r.world.people["owner"], words=2_500, seconds=4, end="stop", shape="p")
    page = await r.watch(reply, acknowledges=False)
    await r.world.clock.until(lambda: page.received_chars > WINDOW_CHARS, 12)
    full = page.received_chars
    await _nap(r, 1, 2)
    # What fills the window may be as big as all that came meanwhile; after it, nothing but beats.
    if page.received_chars > full + LARGEST_FRAME_CHARS:
        r.breaks("D3", f"{page.received_chars} characters went to a reader that is silent")
    await page.speak()
    return full > WINDOW_CHARS


# --- commands ---------------------------------------------------------------------------------


@fault("double click", "command", "D4")
async def double_click(r: Round) -> object:
    """The same send from the same page up to three times, across a restart if there is one."""
    person = r.rng.choice(list(r.world.people.values()))
    reply = r.prepare(person)
    fields = {"text": reply.question, "client_key": str(UUID(int=r.rng.getrandbits(128)))}
    sends = [asyncio.create_task(_send(r, person, "/messages/", fields)) for _ in range(2)]
    if r.has("process") or r.rng.random() < 0.5:
        await asyncio.sleep(r.rng.uniform(0, 3))
        sends.append(asyncio.create_task(_send(r, person, "/messages/", fields)))
    places = set(await asyncio.gather(*sends))
    if len(places) != 1:
        r.breaks("D4", f"one send led to {places}")
    reply.conversation = next(iter(places)).split("/")[2]
    await r.watch(reply)
    return len(sends)


async def _send(r: Round, person, path: str, fields: dict[str, str]) -> str:  # type: ignore[no-untyped-def]
    """Again until it is taken, as a person would; the address it leads to."""
    while True:
        try:
            answer = await person.post(path, **fields)
        except httpx.TransportError:
            await asyncio.sleep(0.2)
            continue
        if answer.status_code in (503, 500):
            await asyncio.sleep(0.2)
            continue
        assert answer.status_code == 303, f"{path} was answered {answer.status_code}"
        return str(answer.headers["Location"])


@fault("two tabs", "command", "D4")
async def two_tabs(r: Round) -> object:
    """Both send at once where both show the same last message: both are kept, one after another."""
    first = r.rng.choice([reply for reply in r.replies if not reply.is_gone])
    both = [r.prepare(first.person, seconds=2) for _ in range(2)]
    path = f"/c/{first.conversation}/messages/"
    sends = []
    for reply in both:
        reply.conversation = first.conversation
        key = str(UUID(int=r.rng.getrandbits(128)))
        fields = {"text": reply.question, "parent": first.message, "client_key": key}
        sends.append(_send(r, first.person, path, fields))
    await asyncio.gather(*sends)
    exported = await _exported(r, first)
    texts = [m["text"] for m in exported if m["current"] and m["role"] == "user"]
    if sorted(texts[1:3]) != sorted(reply.question for reply in both) or len(texts) != 3:
        r.breaks("D4", f"two tabs sent at once, and the branch has {texts}")
    for reply in both:
        await r.watch(reply)
    return True


async def _exported(r: Round, reply: Reply) -> list[dict]:  # type: ignore[type-arg]
    async def probe() -> dict | None:  # type: ignore[type-arg]
        return await reply.person.export(reply.conversation)

    exported = await r.world.clock.until(probe, 30)
    return exported["messages"] if exported else []


def _target(r: Round) -> Reply:
    """A reply that runs now, if one does, and isn't the only one in a conversation of several."""
    running = [reply for reply in r.replies if r.is_running(reply)]
    return r.rng.choice(running or r.replies)


@fault("stop", "command", "D5", "D6")
async def stop(r: Round) -> object:
    """From one tab or from two at once, at any moment, the finish included."""
    reply = _target(r)
    reply.allowed.add(("stopped", None))
    if r.rng.random() < 0.4 and reply.calls:
        # Race the finish: the last deltas are leaving.
        left = 1 - len(reply.sent[1]) / max(1, len(reply.whole[1]))
        await asyncio.sleep(max(0, left * reply.seconds + r.rng.uniform(-0.15, 0.1)))
    else:
        await _nap(r, 0, 1)
    shown = [
        tab.page.seen_until(reply.message, r.world.clock.now)
        for tab in r.tabs
        if tab.reply is reply
    ]
    moment = time.monotonic()
    presses = [reply.person.post(f"/m/{reply.message}/stop/") for _ in range(r.rng.choice([1, 2]))]
    for answer in await asyncio.gather(*presses):
        if answer.status_code != 303:
            r.breaks("D5", f"Stop was answered {answer.status_code}")
    reply.had += shown
    await _is_closed(r, reply, moment, 1.0, "D5")
    return True


async def _is_closed(r: Round, reply: Reply, moment: float, within_s: float, promise: str) -> None:
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


@fault("delete a conversation", "command", "D10")
async def delete_conversation(r: Round) -> object:
    reply = _target(r)
    reply.is_gone = True
    await _nap(r, 0, 1)
    moment = time.monotonic()
    answer = await reply.person.post(f"/c/{reply.conversation}/delete/")
    assert answer.status_code == 303
    await _is_closed(r, reply, moment, 2.0, "D10")
    await _closes(r, reply, 4404)
    await _stays_as_it_is(r, reply)
    answer = await reply.person.http.get(f"/c/{reply.conversation}/")
    if answer.status_code != 404:
        r.breaks("D10", f"a deleted conversation answers {answer.status_code}")
    return True


async def _closes(r: Round, reply: Reply, code: int, pages: list | None = None) -> None:  # type: ignore[type-arg]
    """Its sockets close with this code within 5 s; a page behind a broken network can't tell."""
    if r.has("network"):
        return
    pages = pages or [tab.page for tab in r.tabs if tab.reply is reply]

    def open_ones() -> list:  # type: ignore[type-arg]
        return [p for p in pages if not p.closes or p.closes[-1][1] != code]

    if await r.world.clock.until(lambda: not open_ones(), 5) is None:
        r.breaks("D10", f"{len(open_ones())} sockets of {reply.token} are not closed with {code}")


async def _stays_as_it_is(r: Round, reply: Reply) -> None:
    """Nothing is written to a deleted message any more, and its call keeps its figures."""
    query = (
        "SELECT m.text, m.reasoning, g.status FROM chat_message m JOIN chat_generation g"
        " ON m.generation_id = g.id WHERE m.uuid = ?"
    )
    key = UUID(reply.message).hex

    def state() -> tuple:  # type: ignore[type-arg]
        return r.world.rows(query, key)[0]

    if await r.world.clock.until(lambda: state()[2] in ENDED, 3) is None:
        r.breaks("D10", f"the deleted {reply.token} is {state()[2]} 3 s later")
    before = state()
    await asyncio.sleep(0.6)
    if state() != before:
        r.breaks("D10", f"{reply.token} was written to after it was deleted")
    calls = r.world.rows(
        "SELECT ended_at, confidence FROM chat_call WHERE message_id ="
        " (SELECT id FROM chat_message WHERE uuid = ?)",
        key,
    )
    if len(calls) < len(reply.calls) or any(ended is None for ended, _ in calls):
        r.breaks("D10", f"of {len(reply.calls)} calls of the deleted {reply.token}: {calls}")


@fault("delete a message", "command", "D10")
async def delete_message(r: Round) -> object:
    """The question goes, and the reply that runs below it."""
    reply = _target(r)
    exported = await _exported(r, reply)
    question = next(m for m in exported if reply.token in m["text"] and m["role"] == "user")
    await _nap(r, 0, 1)
    reply.is_gone = True
    moment = time.monotonic()
    answer = await reply.person.post(f"/m/{question['id']}/delete/")
    assert answer.status_code == 303
    await _is_closed(r, reply, moment, 2.0, "D10")
    pages = [tab.page for tab in r.tabs if tab.reply is reply]
    if not r.has("network"):
        gone = lambda: all(page.article(reply.message) is None for page in pages)  # noqa: E731
        if await r.world.clock.until(gone, 2) is None:
            r.breaks("D10", f"a page still shows the deleted {reply.token}")
    await _stays_as_it_is(r, reply)
    return True


@fault("log out", "command", "D10")
async def log_out(r: Round) -> object:
    """One session ends; the reply and the other sessions don't mind."""
    reply = _target(r)
    name = next(n for n, p in r.world.people.items() if p is reply.person)
    guest = await r.world.log_in(name)
    r.world.extra.append(guest)
    page = await r.open_page(reply, guest)
    if not await r.world.clock.until(lambda: page.connection == "live", 5):
        await page.close()
        return False
    answer = await guest.post("/logout/")
    assert answer.status_code == 302
    await _closes(r, reply, 4401, [page])
    await page.close()
    return True


@fault("disable an account", "command", "D10", "D6")
async def disable(r: Round) -> object:
    name = r.rng.choice(["mira", "oleg"])
    person = r.world.people[name]
    theirs = [reply for reply in r.replies if reply.person is person]
    running = [reply for reply in theirs if r.is_running(reply)]
    for reply in theirs:
        reply.allowed.add(("stopped", None))
    moment = time.monotonic()
    await r.world.set_active(name, False)
    for reply in running:
        await _is_closed(r, reply, moment, 2.0, "D10")
    for reply in theirs:
        await _closes(r, reply, 4401)
    answer = await person.http.get("/")
    if answer.status_code != 302:
        r.breaks("D10", f"a disabled account is answered {answer.status_code}")
    await r.world.set_active(name, True)
    for tab in r.tabs:
        if tab.person is person:
            await tab.page.reload()
    return running


# --- the gateway ------------------------------------------------------------------------------


@fault("the gateway misbehaves", "gateway", "D7", "D6", gateway_ends=True)
async def misbehave(r: Round) -> object:
    """Two of the streams end badly by their scripts; this waits until they have."""
    bad = [reply for reply in r.replies if reply.end not in replies.GOOD]

    def struck() -> bool:
        return all(_has_struck(reply) for reply in bad)

    await r.world.clock.until(struck, 15)
    return any(_has_struck(reply) for reply in bad)


def _has_struck(reply: Reply) -> bool:
    if not reply.calls:
        return False
    call = reply.calls[-1]
    if reply.end == "hang":
        whole = len(call.text) >= sum(map(len, reply.text))
        return whole and (call.closed_by_client or IDLE_S > 0)
    return call._answered.is_set() or call.closed_by_client
