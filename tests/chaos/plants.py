"""Known bugs, one for each promise, planted outside of the product: chaos has to find each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING
from uuid import UUID

from tests.chaos.replies import GOOD
from tests.chaos.rounds import Plant

if TYPE_CHECKING:
    from tests.chaos.replies import Reply
    from tests.chaos.rounds import Round


@dataclass(frozen=True)
class Known:
    """What is planted, in a round with that fault, and which promise it breaks."""

    promise: str
    bug: str
    fault: str
    plant: Callable[[], Plant]


def _update(r: Round, reply: Reply, change: str) -> None:
    r.world.change(f"UPDATE chat_message SET {change} WHERE uuid = ?", UUID(reply.message).hex)


def _double_checkpoint(r: Round) -> None:
    _update(r, r.replies[0], "text = text || substr(text, -3)")


def _lost_text(r: Round) -> None:
    for reply in r.replies:
        _update(r, reply, "text = '', reasoning = ''")


def _second_call(r: Round) -> None:
    r.world.gateway.requests.append(r.world.gateway.calls[-1])


def _zero_for_unknown(r: Round) -> None:
    r.world.change(
        "UPDATE chat_call SET prompt_tokens = 0, completion_tokens = 0, total_tokens = 0"
    )


def _lost_usage(r: Round) -> None:
    key = UUID(r.replies[0].message).hex
    one = "(SELECT id FROM chat_message WHERE uuid = ?)"
    r.world.change(f"DELETE FROM chat_call WHERE message_id = {one}", key)


def _good_end_for_a_bad_one(r: Round) -> None:
    for reply in r.replies:
        if reply.end not in GOOD:
            _update(r, reply, "status = 'complete'")


def _order_by_a_clock(r: Round) -> None:
    """As though the one that jumped back had put the later question first."""
    for first, late in r.orders:
        one, other = first.question, late.question
        r.world.change(
            "UPDATE chat_message SET text = CASE WHEN text = ? THEN ? ELSE ? END"
            " WHERE text = ? OR text = ?",
            *(one, other, one, one, other),
        )


async def _lost_draft(r: Round) -> None:
    assert r.window, "this one takes a Chromium"
    await r.window[0].type("")


KNOWN = [
    Known(
        "D1", "a checkpoint written twice", "SIGKILL",
        lambda: Plant(before_checks=_double_checkpoint),
    ),
    Known("D1", "a crash that loses all text", "SIGKILL", lambda: Plant(before_checks=_lost_text)),
    Known(
        "D1", "a dead worker's text lost", "SIGKILL of a worker",
        lambda: Plant(before_checks=_lost_text),
    ),
    Known(
        "D2", "sockets that just drop", "SIGTERM of a web process",
        lambda: Plant(hears_close=lambda code: 1006),
    ),
    Known("D2", "sockets that just drop", "SIGTERM", lambda: Plant(hears_close=lambda code: 1006)),
    Known(
        "D3", "ops that never came", "network cut",
        lambda: Plant(loses=lambda op: op[0] == "shell"),
    ),
    Known("D4", "a second call", "double click", lambda: Plant(before_checks=_second_call)),
    Known("D5", "Stop that stops nothing", "stop", lambda: Plant(swallows=lambda p: "/stop/" in p)),
    Known("D6", "0 for unknown", "network cut", lambda: Plant(before_checks=_zero_for_unknown)),
    Known("D6", "a lost call", "network cut", lambda: Plant(before_checks=_lost_usage)),
    Known(
        "D7", "complete without a finish sign", "the gateway misbehaves",
        lambda: Plant(before_checks=_good_end_for_a_bad_one),
    ),
    Known(
        "D8", "text that only Redis had", "Redis killed, and back without its data",
        lambda: Plant(before_checks=_lost_text),
    ),
    Known(
        "D9", "'not saved yet' never said", "database locked for long",
        lambda: Plant(loses=lambda op: op[0] == "shell" and 'data-saved="false"' in op[3]),
    ),
    Known(
        "D10", "a deletion that cancels nothing", "delete a conversation",
        lambda: Plant(swallows=lambda p: p.startswith("/c/") and p.endswith("/delete/")),
    ),
    Known(
        "D11", "order by a clock", "clocks jump",
        lambda: Plant(before_checks=_order_by_a_clock),
    ),
    *(
        Known(
            "D12", "a draft that a restart loses", fault,
            lambda: Plant(before_checks=_lost_draft, has_window=True),
        )
        for fault in ("SIGTERM", "all restarted, one by one")
    ),
]  # fmt: skip
