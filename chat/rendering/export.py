"""A conversation as JSON, for people to take away and for programs to read."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from django.db.models import Count

from chat.models import Conversation, Message

from . import usage
from .errors import told

# A first part is made before the first byte leaves.
MESSAGES_AT_ONCE = 200
Thread = list[dict[str, Any]]


def as_json(conversation: Conversation) -> dict[str, Any]:
    """{"title", "messages"}: the current branch from root to leaf, then the others, parents first."""
    found = _threads([conversation.pk])
    return {"title": conversation.title, "messages": found[conversation.pk]}


def with_threads(
    conversations: Sequence[Conversation], *, with_deleted: bool = False
) -> Iterator[tuple[Conversation, Thread]]:
    """Each with its messages as `as_json` has them, in a few queries for so many messages at once."""
    of = Message.objects.filter(conversation__in=[each.pk for each in conversations])
    counts = dict(of.order_by().values_list("conversation").annotate(Count("pk")))
    part: list[Conversation] = []
    count = 0
    for place, conversation in enumerate(conversations, 1):
        part.append(conversation)
        count += counts.get(conversation.pk, 0)
        if count >= MESSAGES_AT_ONCE or place == len(conversations):
            found = _threads([each.pk for each in part], with_deleted=with_deleted)
            yield from ((each, found[each.pk]) for each in part)
            part, count = [], 0


def _threads(conversations: Sequence[int], *, with_deleted: bool = False) -> dict[int, Thread]:
    found: dict[int, list[Message]] = {pk: [] for pk in conversations}
    which = {"purged_at": None} if with_deleted else {"deleted_at": None}
    rows = Message.objects.filter(conversation__in=conversations, **which)
    for row in rows.for_display().order_by("-current", "id"):
        found[row.conversation_id].append(row)
    return {pk: _thread(rows) for pk, rows in found.items()}


def _thread(rows: Sequence[Message]) -> Thread:
    uuids = {row.pk: str(row.uuid) for row in rows}
    return [_message(row, uuids) for row in rows]


def _message(row: Message, uuids: dict[int, str]) -> dict[str, Any]:
    generation = row.generation
    return {
        "id": str(row.uuid),
        "parent": uuids.get(row.parent_id) if row.parent_id else None,
        "current": row.current,
        "role": row.role,
        "text": row.text,
        "reasoning": row.reasoning,
        "status": row.status,
        "model": row.model or None,
        "gateway": row.gateway.slug if row.gateway else None,
        "finish_reason": (generation.finish_reason or None) if generation else None,
        "error": _error(row),
        "usage": _usage(row.calls.all()) if row.is_reply else None,
        "attachments": [],
    }


def _error(row: Message) -> dict[str, str] | None:
    if row.is_open or row.generation is None or (error := told(row.generation)) is None:
        return None
    return {"kind": error.kind, "message": error.message or error.sentence}


def _usage(calls: Iterable[Any]) -> dict[str, Any] | None:
    total = usage.of_calls(calls)
    if total is None:
        return None
    return {name: getattr(total, name) for name in usage.TOKENS} | {
        "confidence": total.confidence,
        "cost": None if total.cost is None else f"{total.cost.normalize():f}",
        "currency": total.currency,
        "cost_confidence": total.cost_confidence,
    }
