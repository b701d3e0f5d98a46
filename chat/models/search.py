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
from typing import TYPE_CHECKING, Any, NamedTuple

from django.db import OperationalError, connection, transaction

from chat.rendering.markdown import plain_text
from chat.rendering.words import Piece, Term, marked, snippet, terms

from .search_schema import insert

if TYPE_CHECKING:
    from .messages import Message

TIMEOUT_S = 2.0
BY_INDEX_S = 0.08  # of these, where PostgreSQL is asked for rare words first
# At first it looks through the newest entries, so many for each that is wanted; where one in so many of
# what is wanted was among them, its words are no rare ones.
NEWEST, FREQUENT = 2, 10
BATCH = 500
# Of a beginning that more words share FTS5 is faster by itself.
BEGINNINGS = 64
_VOCABULARY = (
    "CREATE VIRTUAL TABLE IF NOT EXISTS temp.chat_search_words"
    " USING fts5vocab (main, chat_search, instance)"
)
# From word to word: all that lies between them, each place where a word stands, is passed over.
_BEGINNING = """
    WITH RECURSIVE found(word) AS (
        SELECT (SELECT term FROM temp.chat_search_words WHERE term >= %s ORDER BY term LIMIT 1)
        UNION ALL
        SELECT (
            SELECT term FROM temp.chat_search_words WHERE term >= word || char(1)
            ORDER BY term LIMIT 1
        ) FROM found WHERE word < %s LIMIT %s
    )
    SELECT word FROM found WHERE word < %s
"""
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
    titles, messages = _found(wanted, owner, below, limit)
    return [*_title_hits(titles, wanted), *_hits(messages, wanted)]


def conversations(query: str, limit: int = 1_000) -> dict[int, int | None]:
    """Where the newest messages and titles that hold all words are: conversation to its newest
    message found, or None where that is the title. Raises TooSlow.
    """
    from .messages import Message

    wanted = terms(query)
    if not wanted:
        return {}
    titles, messages = _found(wanted, None, None, limit)
    rows = Message.objects.filter(pk__in=messages, deleted_at=None).order_by("pk")
    return dict.fromkeys(titles) | dict(rows.values_list("conversation", "pk"))


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


def put_new(message: "Message") -> None:
    """Have a question found that was recorded just now: nothing of it is there to be taken out."""
    conversation = message.conversation
    if conversation.deleted_at is None:
        insert(connection, [(message.pk, conversation.owner_id, message.text)])


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
    with connection.cursor() as cursor:
        for start in range(0, len(pks), BATCH):
            batch = pks[start : start + BATCH]
            places = ", ".join(["%s"] * len(batch))
            cursor.execute(f"DELETE FROM chat_search WHERE {_key()} IN ({places})", batch)  # noqa: S608


# --- asking -----------------------------------------------------------------------------------------


class _Asked(NamedTuple):
    """In SQL: which entries are looked through, what they must hold, and the values of both."""

    source: str
    condition: str
    values: list[Any]


def _found(
    wanted: Sequence[Term], owner: int | None, below: int | None, limit: int
) -> tuple[list[int], list[int]]:
    """Conversations by their titles, and messages: the newest of each. With `below` without titles."""
    # PostgreSQL gives the newest first only by going through them, and what is rare only by its words.
    has_two_ways = connection.vendor == "postgresql" and owner is None
    with in_time():
        asked = _asked(wanted, owner)
        titles = _titles(asked, limit) if below is None else []
        messages = _messages(asked, below, limit, NEWEST * limit if has_two_ways else None)
    if has_two_ways and len(messages) < limit:
        messages = _among_all(asked, below, limit, is_rare=len(messages) < limit / FREQUENT)
    return titles, messages


def _asked(wanted: Sequence[Term], owner: int | None) -> _Asked:
    if connection.vendor != "postgresql":
        return _Asked("chat_search", *_of_sqlite(wanted, owner))
    condition, values = _of_postgresql(wanted)
    if owner is None:
        return _Asked("chat_search", condition, values)
    # First a person's own entries: PostgreSQL would rather look through everybody's newest.
    mine = "(SELECT * FROM chat_search WHERE vector @@ %s::tsquery OFFSET 0) AS mine"
    return _Asked(mine, condition, [f"'@{owner}'", *values])


def _titles(asked: _Asked, limit: int) -> list[int]:
    """They lie below 0, the newest lowest."""
    id_ = _key()
    sql = f"SELECT {id_} FROM {asked.source} WHERE {asked.condition} AND {id_} < 0"  # noqa: S608
    return [-pk for pk in _pks(f"{sql} ORDER BY {id_} LIMIT %s", [*asked.values, limit])]


def _messages(asked: _Asked, below: int | None, limit: int, among: int | None = None) -> list[int]:
    """`among` the newest so many entries alone, whether they are what is asked for or not."""
    id_, source, bounds = _key(), asked.source, [0]
    between = f"{id_} > %s"
    if below is not None:
        between += f" AND {id_} < %s"
        bounds.append(below)
    if among is None:
        values = [*asked.values, *bounds]
    else:
        newest = f"SELECT * FROM {source} WHERE {between} ORDER BY {id_} DESC LIMIT %s"  # noqa: S608
        source, between = f"({newest}) AS newest", "true"
        values = [*bounds, among, *asked.values]
    sql = f"SELECT {id_} FROM {source} WHERE {asked.condition} AND {between}"  # noqa: S608
    return _pks(f"{sql} ORDER BY {id_} DESC LIMIT %s", [*values, limit])


def _among_all(asked: _Asked, below: int | None, limit: int, *, is_rare: bool) -> list[int]:
    """PostgreSQL takes each word for a frequent one: by what is rare it is made to go."""
    if is_rare:
        with suppress(TooSlow), in_time(BY_INDEX_S), connection.cursor() as cursor:
            cursor.execute("SET LOCAL enable_indexscan = off")
            found = _messages(asked, below, limit)
            cursor.execute("SET LOCAL enable_indexscan = DEFAULT")
            return found
    with in_time():
        return _messages(asked, below, limit)


def _pks(sql: str, values: Sequence[Any]) -> list[int]:
    with connection.cursor() as cursor:
        cursor.execute(sql, values)
        return [pk for (pk,) in cursor.fetchall()]


def _key() -> str:
    return "id" if connection.vendor == "postgresql" else "rowid"


def _of_sqlite(wanted: Sequence[Term], owner: int | None) -> tuple[str, list[Any]]:
    parts = [f"words : {_fts5(term)}" for term in wanted]
    if owner is not None:
        parts.insert(0, f'owner : "{owner}"')
    return "chat_search MATCH %s", [" AND ".join(parts)]


def _fts5(term: Term) -> str:
    """A beginning as the words that have it: of those FTS5 finds the newest without the others."""
    *before, _last = term.words
    words = _beginning_with(term.start) if term.is_prefix else []
    if 0 < len(words) <= BEGINNINGS:
        return f"({' OR '.join(_phrase(*before, word) for word in words)})"
    return f"{_phrase(*before, term.start)}{' *' if term.is_prefix else ''}"


def _phrase(*words: str) -> str:
    return f'"{" ".join(words)}"'


def _beginning_with(start: str) -> list[str]:
    """The first words in the index that begin so, one more than are of use."""
    end = f"{start}{chr(0x10FFFF)}"
    with connection.cursor() as cursor:
        cursor.execute(_VOCABULARY)
        cursor.execute(_BEGINNING, [start, end, BEGINNINGS + 1, end])
        return [word for (word,) in cursor.fetchall()]


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
