"""Rights that end while a reply runs."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any
from uuid import UUID

from tests.chaos.faults.registry import (
    fault,
    is_closed,
    messages_of,
    nap,
    target,
)
from tests.server import ENDED

if TYPE_CHECKING:
    from tests.chaos.page import Page
    from tests.chaos.replies import Reply
    from tests.chaos.rounds import Round


@fault("delete a conversation", "command", "D10")
async def delete_conversation(r: Round) -> object:
    reply = target(r)
    reply.is_gone = True
    await nap(r, 0, 1)
    moment = time.monotonic()
    answer = await reply.person.post(f"/c/{reply.conversation}/delete/")
    assert answer.status_code == 303
    await is_closed(r, reply, moment, 2.0, "D10")
    await _closes(r, reply, 4404)
    await _stays_as_it_is(r, reply)
    answer = await reply.person.http.get(f"/c/{reply.conversation}/")
    if answer.status_code != 404:
        r.breaks("D10", f"a deleted conversation answers {answer.status_code}")
    return True


async def _closes(r: Round, reply: Reply, code: int, pages: list[Page] | None = None) -> None:
    """Its sockets close with this code within 5 s; a page behind a broken network can't tell."""
    if r.has("network"):
        return
    pages = pages or [tab.page for tab in r.tabs if tab.reply is reply]

    def open_ones() -> list[Page]:
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

    def state() -> tuple[Any, ...]:
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
    reply = target(r)
    messages = await messages_of(r, reply)
    question = next(m for m in messages if reply.token in m["text"] and m["role"] == "user")
    await nap(r, 0, 1)
    reply.is_gone = True
    moment = time.monotonic()
    answer = await reply.person.post(f"/m/{question['id']}/delete/")
    assert answer.status_code == 303
    await is_closed(r, reply, moment, 2.0, "D10")
    pages = [tab.page for tab in r.tabs if tab.reply is reply]
    if not r.has("network"):
        gone = lambda: all(page.shown.article(reply.message) is None for page in pages)  # noqa: E731
        if await r.world.clock.until(gone, 2) is None:
            r.breaks("D10", f"a page still shows the deleted {reply.token}")
    await _stays_as_it_is(r, reply)
    return True


@fault("log out", "command", "D10")
async def log_out(r: Round) -> object:
    """One session ends; the reply and the other sessions don't mind."""
    reply = target(r)
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
        await is_closed(r, reply, moment, 2.0, "D10")
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
