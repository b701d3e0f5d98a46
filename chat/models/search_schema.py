"""The index's table in each database: an entry's columns, and what takes out those of removed rows.

Made by a migration and after every migration made whole: SQLite drops a table's triggers where
Django rebuilds the table.
"""

from collections.abc import Iterable
from typing import Any

from django.db import DatabaseError, transaction

from chat.rendering.words import spread

_SQLITE = [
    # Owners and words are stored beside their index: without, FTS5 before 3.43 can't delete.
    "CREATE VIRTUAL TABLE IF NOT EXISTS chat_search USING fts5"
    " (owner, words, tokenize = 'unicode61 remove_diacritics 0', columnsize = 0)",
    "CREATE TRIGGER IF NOT EXISTS chat_search_message AFTER DELETE ON chat_message"
    " BEGIN DELETE FROM chat_search WHERE rowid = OLD.id; END",
    "CREATE TRIGGER IF NOT EXISTS chat_search_conversation AFTER DELETE ON chat_conversation"
    " BEGIN DELETE FROM chat_search WHERE rowid = -OLD.id; END",
]
_POSTGRESQL = [
    "CREATE TABLE IF NOT EXISTS chat_search"
    " (id bigint PRIMARY KEY, words text NOT NULL, vector tsvector NOT NULL)",
    "CREATE INDEX IF NOT EXISTS chat_search_vector ON chat_search USING gin (vector)",
    "CREATE OR REPLACE FUNCTION chat_search_forget() RETURNS trigger LANGUAGE plpgsql AS $$"
    " BEGIN DELETE FROM chat_search WHERE id = TG_ARGV[0]::bigint * OLD.id; RETURN NULL; END $$",
    "CREATE OR REPLACE TRIGGER chat_search_message AFTER DELETE ON chat_message"
    " FOR EACH ROW EXECUTE FUNCTION chat_search_forget('1')",
    "CREATE OR REPLACE TRIGGER chat_search_conversation AFTER DELETE ON chat_conversation"
    " FOR EACH ROW EXECUTE FUNCTION chat_search_forget('-1')",
]
_TRIGRAMS = [
    "CREATE EXTENSION IF NOT EXISTS pg_trgm",
    "CREATE INDEX IF NOT EXISTS chat_search_trigrams ON chat_search USING gin (words gin_trgm_ops)",
]


def install(connection: Any) -> None:
    """Make what is missing. Parts of words are found only where PostgreSQL lets us have pg_trgm."""
    is_postgresql = connection.vendor == "postgresql"
    with connection.cursor() as cursor:
        for statement in _POSTGRESQL if is_postgresql else _SQLITE:
            cursor.execute(statement)
        if is_postgresql:
            try:
                with transaction.atomic(using=connection.alias):
                    for statement in _TRIGRAMS:
                        cursor.execute(statement)
            except DatabaseError:
                pass  # not installed, or not ours to create


def remove(connection: Any) -> None:
    """As if it had never been; the extension stays, as others may use it."""
    with connection.cursor() as cursor:
        for name in ("message", "conversation"):
            on = f" ON chat_{name}" if connection.vendor == "postgresql" else ""
            cursor.execute(f"DROP TRIGGER IF EXISTS chat_search_{name}{on}")
        cursor.execute("DROP TABLE IF EXISTS chat_search")
        if connection.vendor == "postgresql":
            cursor.execute("DROP FUNCTION IF EXISTS chat_search_forget()")


def insert(connection: Any, texts: Iterable[tuple[int, int, str]]) -> None:
    """Put entries of (key, owner's key, text); what has no word in it has no entry."""
    rows = [(pk, owner, words) for pk, owner, text in texts if (words := spread(text))]
    if connection.vendor == "postgresql":
        # Unstemmed, so that a beginning or a phrase is found; and as Russian or English words.
        sql = (
            "INSERT INTO chat_search (id, words, vector) VALUES (%s, %s, array_to_tsvector(ARRAY[%s])"
            " || to_tsvector('simple', %s) || to_tsvector('russian', %s))"
            " ON CONFLICT (id) DO UPDATE SET words = EXCLUDED.words, vector = EXCLUDED.vector"
        )
        values = [(pk, words, f"@{owner}", words, words) for pk, owner, words in rows]
    else:
        sql = "INSERT OR REPLACE INTO chat_search (rowid, owner, words) VALUES (%s, %s, %s)"
        values = [(pk, str(owner), words) for pk, owner, words in rows]
    with connection.cursor() as cursor:
        cursor.executemany(sql, values)
