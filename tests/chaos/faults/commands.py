"""What people do at the same moment, or at the worst one."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING
from uuid import UUID

from tests.chaos.faults.registry import (
    fault,
    is_closed,
    messages_of,
    nap,
    send,
    target,
)

if TYPE_CHECKING:
    from tests.chaos.rounds import Round


@fault("double click", "command", "D4")
async def double_click(r: Round) -> object:
    """The same send from the same page up to three times, across a restart if there is one."""
    person = r.rng.choice(list(r.world.people.values()))
    reply = r.prepare(person)
    fields = {"text": reply.question, "client_key": str(UUID(int=r.rng.getrandbits(128)))}
    sends = [asyncio.create_task(send(person, "/messages/", fields)) for _ in range(2)]
    if r.has("process") or r.rng.random() < 0.5:
        await asyncio.sleep(r.rng.uniform(0, 3))
        sends.append(asyncio.create_task(send(person, "/messages/", fields)))
    places = set(await asyncio.gather(*sends))
    if len(places) != 1:
        r.breaks("D4", f"one send led to {places}")
    reply.conversation = next(iter(places)).split("/")[2]
    await r.watch(reply)
    return len(sends)


@fault("two tabs", "command", "D4")
async def two_tabs(r: Round) -> object:
    """Both send at once where both show the same last message: both are kept, one after another."""
    first = r.rng.choice(r.there)
    both = [r.prepare(first.person, seconds=2) for _ in range(2)]
    path = f"/c/{first.conversation}/messages/"
    sends = []
    for reply in both:
        reply.conversation = first.conversation
        key = str(UUID(int=r.rng.getrandbits(128)))
        fields = {"text": reply.question, "parent": first.message, "client_key": key}
        sends.append(send(first.person, path, fields))
    await asyncio.gather(*sends)
    messages = await messages_of(r, first)
    texts = [m["text"] for m in messages if m["current"] and m["role"] == "user"]
    if sorted(texts[1:3]) != sorted(reply.question for reply in both) or len(texts) != 3:
        r.breaks("D4", f"two tabs sent at once, and the branch has {texts}")
    for reply in both:
        await r.watch(reply)
    return True


@fault("stop", "command", "D5", "D6")
async def stop(r: Round) -> object:
    """From one tab or from two at once, at any moment, the finish included."""
    reply = target(r)
    reply.allowed.add(("stopped", None))
    if r.rng.random() < 0.4 and reply.calls:
        # Race the finish: the last deltas are leaving.
        left = 1 - len(reply.sent[1]) / max(1, len(reply.whole[1]))
        await asyncio.sleep(max(0, left * reply.seconds + r.rng.uniform(-0.15, 0.1)))
    else:
        await nap(r, 0, 1)
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
    for lengths in shown:
        reply.must_have(*lengths)
    await is_closed(r, reply, moment, 1.0, "D5")
    return True
