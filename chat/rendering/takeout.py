"""All that is kept of one person as a zip of JSON, written while it is sent.

about.json                    who they are here, and what they set
conversations/<id>.json       as export.json has one, with what they deleted and isn't purged yet
usage.jsonl                   each call: when, for what, by which model, tokens and cost
feedback.jsonl                what they said of replies
passkeys.jsonl                their passkeys by name, without any key
identities.jsonl              who they are at providers of single sign-on
read_by_staff.jsonl           when staff read which conversation
"""

import json
import zipfile
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from typing import Any

from asgiref.sync import sync_to_async
from django.db import connection
from django.forms.models import model_to_dict
from django.http import StreamingHttpResponse
from django.utils import timezone
from django.utils.http import content_disposition_header

from chat.models import Call, Conversation, Feedback, ReadLog, User

from .export import Thread, with_threads

BATCH = 50
ROWS = 1000
CHUNK_BYTES = 64_000
SETTINGS = (
    *("username", "email", "first_name", "last_name", "date_joined", "last_login", "theme"),
    *("language", "time_zone", "default_model", "enter_sends", "system_prompt", "parameters"),
)
_CALL = (
    *("started_at", "ended_at", "purpose", "gateway_slug", "model", "prompt_tokens"),
    *("completion_tokens", "total_tokens", "cached_tokens", "reasoning_tokens", "confidence"),
    *("cost", "currency", "cost_confidence", "error_kind"),
)
Note = Callable[[list[Conversation]], None]


def answer(person: User, note: Note = lambda _: None) -> StreamingHttpResponse:
    """The archive as a download; `note` is told of each batch of conversations before it leaves."""
    name = f"potok-{person.username}-{timezone.localdate():%Y-%m-%d}.zip"
    return StreamingHttpResponse(
        streamed(archive(person, note)),
        content_type="application/zip",
        headers={
            "Content-Disposition": content_disposition_header(True, name) or "attachment",
            "X-Content-Type-Options": "nosniff",
            "Content-Encoding": "identity",
        },
    )


def archive(person: User, note: Note = lambda _: None) -> Iterator[bytes]:
    """The zip, a file or a part of one at a time."""
    sink = _Sink()
    with zipfile.ZipFile(sink, "w", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr("about.json", _json(about(person)))
        for batch in _batches(person):
            note(batch)
            for conversation, thread in with_threads(batch, with_deleted=True):
                name = f"conversations/{conversation.uuid}.json"
                packed.writestr(name, _json(_conversation(conversation, thread)))
                yield sink.taken()
        for name, rows in _tables(person):
            with packed.open(f"{name}.jsonl", "w") as file:
                for row in rows:
                    file.write(_json(row, indent=None) + b"\n")
                    if sink.size > CHUNK_BYTES:
                        yield sink.taken()
            yield sink.taken()
    yield sink.taken()


class _Sink:
    """What zipfile writes to and can't look back in."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self.size = 0

    def write(self, part: bytes) -> int:
        self._parts.append(bytes(part))
        self.size += len(part)
        return len(part)

    def flush(self) -> None:
        """There is nothing behind it."""

    def taken(self) -> bytes:
        parts, self._parts, self.size = self._parts, [], 0
        return b"".join(parts)


def about(person: User) -> dict[str, Any]:
    found = {name: getattr(person, name) for name in SETTINGS}
    found["groups"] = list(person.groups.values_list("name", flat=True))
    found["favourites"] = list(person.favourites.values_list("gateway__slug", "name"))
    return found | {"key": person.key}


def _conversation(conversation: Conversation, thread: Thread) -> dict[str, Any]:
    names = ("uuid", "created_at", "active_at", "deleted_at", "system_prompt", "parameters")
    of_it = {name: getattr(conversation, name) for name in (*names, "title")}
    return of_it | {"messages": thread}


def _batches(person: User) -> Iterator[list[Conversation]]:
    rows, last = person.conversations.select_related("owner").order_by("pk"), 0
    while batch := list(rows.filter(pk__gt=last)[:BATCH]):
        yield batch
        last = batch[-1].pk


def _tables(person: User) -> Iterator[tuple[str, Iterable[dict[str, Any]]]]:
    calls = Call.objects.filter(user_key=person.key)
    yield "usage", _facts(calls, _CALL)
    said = Feedback.objects.filter(message__conversation__owner=person).select_related("message")
    yield (
        "feedback",
        (
            {"message": row.message.uuid, **model_to_dict(row, ("rating", "comment"))}
            for row in _slowly(said.order_by("pk"))
        ),
    )
    yield "passkeys", _facts(person.passkeys.all(), ("name", "rp_id", "made_at", "used_at"))
    yield "identities", _facts(person.identities.all(), ("issuer", "subject", "made_at", "used_at"))
    readings = ReadLog.objects.filter(owner_key=person.key)
    yield "read_by_staff", _facts(readings, ("at", "what", "conversation"))


def _facts(rows: Any, names: Sequence[str]) -> Iterator[dict[str, Any]]:
    return ({name: getattr(row, name) for name in names} for row in _slowly(rows.order_by("pk")))


def _slowly(rows: Any) -> Iterator[Any]:
    """By key, a query a batch: no transaction is held open by a slow reader."""
    last = 0
    while batch := list(rows.filter(pk__gt=last)[:ROWS]):
        yield from batch
        last = batch[-1].pk


def _json(value: Any, indent: int | None = 1) -> bytes:
    return json.dumps(value, ensure_ascii=False, indent=indent, default=_plain).encode()


def _plain(value: Any) -> str:
    return value.isoformat() if hasattr(value, "isoformat") else str(value)


async def streamed(chunks: Iterator[bytes]) -> AsyncIterator[bytes]:
    """Django would gather what a plain iterator gives before it sends the first byte of it."""
    step = sync_to_async(_step)
    while (chunk := await step(chunks)) is not None:
        yield chunk


def _step(chunks: Iterator[bytes]) -> bytes | None:
    """The next one; no connection is kept until a reader has taken it.

    There may be hundreds that take their time, and of connections PostgreSQL has a hundred.
    """
    try:
        return next(chunks, None)
    finally:
        if not connection.in_atomic_block:
            connection.close()
