"""Full-text search over what was asked, answered and given as a title, in two databases alike.

A text enters the index in the transaction that records a question or ends a reply, never at a
checkpoint, and leaves it in the one that hides or removes it. Each entry carries its owner, so that
nobody's search costs or tells anything of others'. No word of a query reaches the databases' own
query languages but letters and digits.
"""

import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

from django.db import OperationalError, connection, transaction

from chat.rendering.markdown import plain_text
from chat.rendering.words import Piece, Term, marked, snippet, terms

from .search_schema import insert

TIMEOUT_S = 2.0
BY_INDEX_S = 0.08  # of these, where PostgreSQL is asked for rare words first
BATCH = 500
# What a text must be to be found: said to its end, and not hidden by its owner.
_FINDABLE = {
    "status__in": ("complete", "stopped", "failed", "interrupted"),
    "deleted_at": None,
    "conversation__deleted_at": None,
}


class TooSlow(Exception):
    """The query matched so much that it was given up; other words may help."""


@dataclass(frozen=True)
class Hit:
    """Where something was found: in a message, or with no message in a conversation's title."""

    conversation: int
    message: int | None
    snippet: list[Piece]


def search(
    query: str, owner: int | None = None, below: int | None = None, limit: int = 30
) -> list[Hit]:
    """What holds all words of the query, newest first: titles, then messages.

    `owner` is a user's key; `below` a message's, from which an earlier answer is gone on with: then
    without titles. Raises TooSlow.
    """
    wanted = terms(query)
    if not wanted:
        return []
    titles = [-pk for pk in _ids(wanted, owner, above=None, below=0, limit=limit)]
    messages = _ids(wanted, owner, above=0, below=below, limit=limit)
    return [*(_title_hits(titles, wanted) if below is None else []), *_hits(messages, wanted)]


def conversations(query: str, limit: int = 1_000) -> dict[int, int | None]:
    """Where the newest messages and titles that hold all words are: conversation to its newest
    message found, or None where that is the title. Raises TooSlow.
    """
    from .messages import Message

    wanted = terms(query)
    if not wanted:
        return {}
    found: dict[int, int | None] = {
        -pk: None for pk in _ids(wanted, None, above=None, below=0, limit=limit)
    }
    messages = _ids(wanted, None, above=0, below=None, limit=limit)
    rows = Message.objects.filter(pk__in=messages, deleted_at=None).order_by("pk")
    return found | dict(rows.values_list("conversation", "pk"))


def passages(query: str, messages: Iterable[int]) -> dict[int | None, list[Piece]]:
    """Of each message the place where the query's words stand."""
    return {hit.message: hit.snippet for hit in _hits(list(messages), terms(query))}


def _hits(pks: Sequence[int], wanted: Sequence[Term]) -> list[Hit]:
    from .messages import Message

    rows = Message.objects.filter(pk__in=pks, **_FINDABLE)
    found = {
        pk: Hit(conversation, pk, _excerpt(role, text, wanted))
        for pk, conversation, role, text in rows.values_list("pk", "conversation", "role", "text")
    }
    return [found[pk] for pk in pks if pk in found]


def _excerpt(role: str, text: str, wanted: Sequence[Term]) -> list[Piece]:
    """A question as it was written, of a reply what its reader sees; all where that has no hit."""
    if role == "assistant":
        pieces = snippet(plain_text(text), wanted)
        if any(piece.is_found for piece in pieces):
            return pieces
    return snippet(text, wanted)


def _title_hits(pks: Sequence[int], wanted: Sequence[Term]) -> list[Hit]:
    from .conversations import Conversation

    titles = dict(Conversation.objects.alive().filter(pk__in=pks).values_list("pk", "title"))
    return [Hit(pk, None, marked(titles[pk], wanted)) for pk in pks if pk in titles]


# --- what is in the index: a message under its key, a title under minus its conversation's ----------


def put_messages(pks: Iterable[int]) -> None:
    """Have these messages found by what they say now, or not at all where they may not be."""
    from .messages import Message

    pks = list(pks)
    _remove(pks)
    rows = Message.objects.filter(pk__in=pks, **_FINDABLE).exclude(text="")
    insert(connection, rows.values_list("pk", "conversation__owner", "text"))


def put_titles(pks: Iterable[int]) -> None:
    from .conversations import Conversation

    pks = list(pks)
    _remove([-pk for pk in pks])
    rows = Conversation.objects.alive().filter(pk__in=pks)
    titles = rows.values_list("pk", "owner", "title")
    insert(connection, ((-pk, owner, title) for pk, owner, title in titles))


def forget_conversations(pks: Iterable[int]) -> None:
    """Take out their titles and all their messages."""
    from .messages import Message

    for pk in pks:
        _remove([-pk, *Message.objects.filter(conversation=pk).values_list("pk", flat=True)])


def rebuild() -> int:
    """Index everything anew; returns how many texts there are to be found."""
    from .conversations import Conversation
    from .messages import Message

    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("DELETE FROM chat_search")
    for model, put in ((Message, put_messages), (Conversation, put_titles)):
        last = 0
        while pks := list(
            model.objects.filter(pk__gt=last).order_by("pk").values_list("pk", flat=True)[:BATCH]
        ):
            with transaction.atomic():
                put(pks)
            last = pks[-1]
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM chat_search")
        return int(cursor.fetchone()[0])


def _remove(pks: Sequence[int]) -> None:
    id_ = "id" if connection.vendor == "postgresql" else "rowid"
    with connection.cursor() as cursor:
        for start in range(0, len(pks), BATCH):
            batch = pks[start : start + BATCH]
            places = ", ".join(["%s"] * len(batch))
            cursor.execute(f"DELETE FROM chat_search WHERE {id_} IN ({places})", batch)  # noqa: S608


# --- asking -----------------------------------------------------------------------------------------


def _ids(
    wanted: Sequence[Term], owner: int | None, above: int | None, below: int | None, limit: int
) -> list[int]:
    """The newest entries between two keys. Titles lie below 0, the newest of them lowest."""
    is_titles = above is None
    source = "chat_search"
    if connection.vendor == "postgresql":
        id_, (condition, values) = "id", _of_postgresql(wanted)
        if owner is not None:
            # First a person's own entries: PostgreSQL would rather look through everybody's newest.
            source = f"(SELECT * FROM {source} WHERE vector @@ %s::tsquery OFFSET 0) AS mine"  # noqa: S608
            values.insert(0, f"'@{owner}'")
    else:
        id_, (condition, values) = "rowid", _of_sqlite(wanted, owner)
    for sign, bound in ((">", above), ("<", below)):
        if bound is not None:
            condition += f" AND {id_} {sign} %s"
            values.append(bound)
    sql = (
        f"SELECT {id_} FROM {source} WHERE {condition}"  # noqa: S608
        f" ORDER BY {id_} {'ASC' if is_titles else 'DESC'} LIMIT %s"
    )
    values.append(limit)
    if connection.vendor == "postgresql" and not is_titles:
        with suppress(TooSlow):
            return _by_index(sql, values)
    with in_time(), connection.cursor() as cursor:
        cursor.execute(sql, values)
        return [pk for (pk,) in cursor.fetchall()]


def _by_index(sql: str, values: Sequence[Any]) -> list[int]:
    """What is rare is found by its words at once; raises TooSlow for what isn't.

    PostgreSQL takes each word for a frequent one, and would walk through all texts, the newest first.
    """
    with in_time(BY_INDEX_S), connection.cursor() as cursor:
        cursor.execute("SET LOCAL enable_indexscan = off")
        cursor.execute(sql, values)
        found = [pk for (pk,) in cursor.fetchall()]
        cursor.execute("SET LOCAL enable_indexscan = DEFAULT")
        return found


def _of_sqlite(wanted: Sequence[Term], owner: int | None) -> tuple[str, list[Any]]:
    parts = [
        f'words : "{" ".join([*term.words[:-1], term.start])}"{" *" if term.is_prefix else ""}'
        for term in wanted
    ]
    if owner is not None:
        parts.insert(0, f'owner : "{owner}"')
    return "chat_search MATCH %s", [" AND ".join(parts)]


def _of_postgresql(wanted: Sequence[Term]) -> tuple[str, list[Any]]:
    parts: list[str] = []
    values: list[Any] = []
    has_trigrams = _has_trigrams()
    for term in wanted:
        match, asked = "to_tsquery('simple', %s)", [_tsquery(term)]
        if term.is_prefix and len(term.words) == 1:
            match = f"({match} || plainto_tsquery('russian', %s))"
            asked.append(term.words[0])
        match = f"vector @@ {match}"
        if term.is_prefix and has_trigrams:
            match = f"({match} OR words LIKE %s)"
            asked.append(f"%{' '.join(term.words)}%")
        parts.append(match)
        values += asked
    return " AND ".join(parts), values


def _tsquery(term: Term) -> str:
    words = " <-> ".join(f"'{word}'" for word in [*term.words[:-1], term.start])
    return f"{words}:*" if term.is_prefix else words


def _has_trigrams() -> bool:
    with connection.cursor() as cursor:
        cursor.execute("SELECT to_regclass('chat_search_trigrams') IS NOT NULL")
        return bool(cursor.fetchone()[0])


@contextmanager
def in_time(timeout_s: float = TIMEOUT_S) -> Iterator[None]:
    """Have the queries within given up after so long; raises TooSlow."""
    try:
        if connection.vendor == "postgresql":
            with transaction.atomic(), connection.cursor() as cursor:
                cursor.execute(f"SET LOCAL statement_timeout = {int(timeout_s * 1000)}")
                yield
                cursor.execute("SET LOCAL statement_timeout = DEFAULT")
        else:
            connection.ensure_connection()
            deadline = time.monotonic() + timeout_s
            connection.connection.set_progress_handler(lambda: time.monotonic() > deadline, 10_000)
            try:
                yield
            finally:
                connection.connection.set_progress_handler(None, 0)
    except OperationalError as error:
        if _is_timeout(error):
            raise TooSlow from error
        raise


def _is_timeout(error: OperationalError) -> bool:
    # PostgreSQL's code of a cancelled query.
    return getattr(error.__cause__, "sqlstate", "") == "57014" or str(error) == "interrupted"
