"""A conversation as JSON, for people to take away and for programs to read."""

from collections.abc import Iterable
from typing import Any

from chat.models import Conversation, Message

from . import usage
from .errors import told


def as_json(conversation: Conversation, *, with_deleted: bool = False) -> dict[str, Any]:
    """{"title", "messages"}: the current branch from root to leaf, then the others, parents first."""
    found = conversation.messages.filter(
        **({"purged_at": None} if with_deleted else {"deleted_at": None})
    )
    rows = list(found.for_display().order_by("id"))
    uuids = {row.pk: str(row.uuid) for row in rows}
    ordered = [row for row in rows if row.current] + [row for row in rows if not row.current]
    return {
        "title": conversation.title,
        "messages": [_message(row, uuids) for row in ordered],
    }


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
