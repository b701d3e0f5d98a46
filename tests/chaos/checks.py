"""What must be so after a round, whatever struck it.

The equation: a page that lived through it == a fresh load == the row == a prefix of what the gateway
sent, or all of it where the reply is complete.
"""

from __future__ import annotations

import asyncio
from itertools import takewhile
from typing import TYPE_CHECKING, Any
from uuid import UUID

from tests.chaos.dom import parse
from tests.chaos.page import Page
from tests.server import ENDED

if TYPE_CHECKING:
    from tests.chaos.replies import Reply
    from tests.chaos.rounds import Round, Watched
    from tests.chaos.window import Window

SAME_WITHIN_S = 2.0
ALWAYS = ("D3", "D4", "D6")


async def check(r: Round) -> None:
    for promise in ALWAYS:
        r.touched.setdefault(promise, set()).update(r.names)
    for reply in r.replies:
        if not reply.is_gone:
            await _check_row(r, reply)
            _check_calls(r, reply)
    await asyncio.gather(*(_check_page(r, tab) for tab in r.tabs))
    if r.window:
        await _check_window(r, *r.window)
    for first, late in r.orders:
        await _check_order(r, first, late)
    for tab in r.tabs:
        for complaint in tab.page.complaints[:3]:
            r.breaks("D3", f"{tab.reply.token}: {complaint}")
    if r.world.gateway.failures:
        r.breaks("D3", f"the scripted gateway failed: {r.world.gateway.failures}")


# --- the row ----------------------------------------------------------------------------------


async def _check_row(r: Round, reply: Reply) -> None:
    row = await r.row(reply)
    if row is None:
        r.breaks("D1", f"{reply.token} is not in the export")
        return
    kind = (row["error"] or {}).get("kind")
    if (row["status"], kind) not in reply.allowed:
        promise = (
            "D7" if row["status"] == "complete" or reply.end not in ("stop", "length") else "D1"
        )
        if r.only_clocks:
            promise = "D11"
        r.breaks(promise, f"{reply.token} is {row['status']}/{kind}, not of {reply.allowed}")
    pairs = zip(("reasoning", "text"), reply.sent, reply.whole, strict=True)
    for n, (part, sent, whole) in enumerate(pairs):
        if not sent.startswith(row[part]):
            r.breaks(
                "D1",
                f"{part} of {reply.token} is no prefix of what was sent: "
                + difference(sent, row[part]),
            )
        if row["status"] == "complete" and row[part] != whole:
            r.breaks("D7", f"{reply.token} is complete without all of its {part}")
        if kind in ("server", "protocol") and row[part] != sent:
            r.breaks("D7", f"{part} of {reply.token} that came before the error was not kept")
        for *had, promise in reply.had:
            if len(row[part]) < had[n]:
                lengths = f"{len(row[part])} characters, {had[n]} were seen"
                r.breaks(promise, f"{part} of {reply.token} has {lengths}")
    await _check_buttons(r, reply, row)


async def _check_order(r: Round, first: Reply, late: Reply) -> None:
    """What was asked later stands later, whatever time it was."""
    exported = await first.person.export(first.conversation)
    if first.is_gone or exported is None:
        return
    said = [m["text"] for m in exported["messages"] if m["current"]]
    places = [said.index(q) if q in said else -1 for q in (first.question, late.question)]
    if not 0 <= places[0] < places[1]:
        r.breaks("D11", f"{first.token} and {late.token} stand at {places} of their branch")


async def _check_buttons(r: Round, reply: Reply, row: dict[str, Any]) -> None:
    """What can be done with it now: Continue and Retry where it was cut, and never Stop."""
    answer = await reply.person.http.get(f"/c/{reply.conversation}/")
    article = parse(answer.text).by_id(f"m-{reply.message}")
    if article is None:
        r.breaks("D3", f"a fresh page does not show {reply.token}")
        return
    names = {b.get("name") for b in article.find_all(lambda e: e.tag == "button")}
    if "stop" in names:
        r.breaks("D5", f"{reply.token} has ended and can be stopped")
    if row["status"] == "interrupted":
        is_last = len([q for q in r.replies if q.conversation == reply.conversation]) == 1
        wanted = {"retry"} | ({"continue"} if row["text"] and is_last else set())
        if not wanted <= names:
            r.breaks("D1", f"the interrupted {reply.token} lacks {wanted - names}")


# --- what it cost -----------------------------------------------------------------------------


def _check_calls(r: Round, reply: Reply) -> None:
    """One call, one row, one terminal state; figures exact, estimated or unknown, and never zero."""
    key = UUID(reply.message).hex
    generations = r.world.rows(
        "SELECT status, ended_at FROM chat_generation WHERE message_id ="
        " (SELECT id FROM chat_message WHERE uuid = ?)",
        key,
    )
    if len(generations) != 1 or generations[0][0] not in ENDED or not generations[0][1]:
        r.breaks("D4", f"generations of {reply.token}: {generations}")
    asked = [call for call in r.world.gateway.calls if reply.is_asked_by(call)]
    planned = 2 if reply.is_busy_first else 1
    if len(asked) > planned:
        r.breaks("D4", f"the gateway was called {len(asked)} times for {reply.token}")
    calls = r.world.rows(
        "SELECT confidence, prompt_tokens, completion_tokens, total_tokens, ended_at, usage_raw"
        " FROM chat_call WHERE purpose = 'reply' AND message_id ="
        " (SELECT id FROM chat_message WHERE uuid = ?) ORDER BY id",
        key,
    )
    # A row without its call: the process died, or Stop came, between the two.
    may_lack_call = r.has("process", "command") or reply.end not in ("stop", "length")
    if len(calls) < len(asked) or (len(calls) > len(asked) and not may_lack_call):
        r.breaks("D6", f"{len(calls)} rows for {len(asked)} calls of {reply.token}")
    if len(calls) > planned:
        r.breaks("D6", f"{len(calls)} rows where {planned} calls were due for {reply.token}")
    for n, call in enumerate(calls):
        _check_figures(r, reply, call, n == len(calls) - 1)


def _check_figures(r: Round, reply: Reply, call: tuple[Any, ...], is_last: bool) -> None:
    confidence, *tokens, ended_at, raw = call
    if ended_at is None:
        r.breaks("D6", f"a call of {reply.token} has no end")
    if confidence == "unknown" and (tokens != [None] * 3 or raw):
        r.breaks("D6", f"unknown usage of {reply.token} is {tokens}")
    if confidence == "exact":
        sent = list(reply.usage.values()) if reply.usage else None
        if tokens != sent:
            r.breaks("D6", f"exact usage of {reply.token} is {tokens}, sent was {sent}")
    if confidence == "estimated" and (None in tokens or raw):
        r.breaks("D6", f"estimated usage of {reply.token} is {tokens}")
    if is_last and (want := _wanted_confidence(r, reply)) and confidence not in want:
        r.breaks("D6", f"usage of {reply.token} is {confidence}, not {want}")


def _wanted_confidence(r: Round, reply: Reply) -> set[str]:
    status, text = r.world.rows(
        "SELECT status, reasoning || text FROM chat_message WHERE uuid = ?",
        UUID(reply.message).hex,
    )[0]
    if status == "complete":
        return {"exact"} if reply.usage else {"unknown"}
    return {"estimated", "exact"} if text else set()


# --- what pages show --------------------------------------------------------------------------


async def _check_page(r: Round, tab: Watched) -> None:
    page = tab.page
    if tab.reply.is_gone and page.connection == "gone":
        return
    if page.connection in ("over", "gone"):
        r.breaks("D3", f"a page of {tab.reply.token} is {page.connection}: {page.closes[-2:]}")
        return
    fresh = Page(tab.person.http, page.path, 0)

    async def is_same() -> bool:
        await fresh.load()
        return fresh.status == 200 and fresh.html == page.html

    if await r.world.clock.until(is_same, SAME_WITHIN_S, 0.2):
        return
    if fresh.status != 200:
        r.breaks("D3", f"a fresh load of {tab.reply.token} is answered {fresh.status}")
        return
    r.breaks(
        "D3",
        f"a page of {tab.reply.token} is not what a fresh load is ({page.connection},"
        f" opened {page.opens} times): {difference(fresh.html, page.html)}",
    )


async def _check_window(r: Round, window: Window, reply: Reply) -> None:
    """The same of a page in Chromium; a window whose conversation or login went is not judged."""
    if reply.is_gone or ("disable an account" in r.names and reply.person.is_member):
        return
    restarts = {fault.name for fault in r.faults if fault.group == "process"}
    if restarts:
        r.touched.setdefault("D12", set()).update(restarts)
    for flaw in await window.flaws(r.world.clock, SAME_WITHIN_S):
        r.breaks("D12" if "draft" in flaw else "D3", f"Chromium's page of {reply.token}: {flaw}")


def difference(wanted: str, got: str) -> str:
    """Where two texts part, with what stands around."""
    at = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(wanted, got, strict=False)))
    start = max(0, at - 60)
    return f"at {at}: {wanted[start : at + 60]!r} became {got[start : at + 60]!r}"
