"""Leaving nothing of removed rows in the database's own files.

A row that was deleted stays in its file until something is written over it: in free pages, in the
full-text index, in a write-ahead log, in the planner's statistics. Here all that is written anew, which
others wait for; how long that takes is in docs/operations.md.
"""

from contextlib import suppress

from django.db import DatabaseError, connection

# Where words stand, or names; the keys of the others tell nothing.
TABLES = (
    *("chat_message", "chat_conversation", "chat_generation", "chat_call", "chat_search"),
    *("chat_revision", "chat_picture", "chat_feedback", "chat_score", "chat_hold", "chat_command"),
    *("chat_budget", "chat_notice"),
    *("chat_user", "chat_readlog", "chat_loginattempt", "django_session", "django_admin_log"),
)
LOCK_MS = 10_000
# What can be left: PostgreSQL's write-ahead log, which is written over in its own time.
WAL = "wal"


class Busy(Exception):
    """Somebody reads what was to be written anew; to be tried again."""


def clean() -> str:
    """Write the files anew; returns WAL where a part stays that isn't ours to clean, else ''.

    Outside of any transaction. Raises DatabaseError, Busy.
    """
    if connection.in_atomic_block:  # which on PostgreSQL a VACUUM would break
        raise Busy
    return _postgresql() if connection.vendor == "postgresql" else _sqlite()


def _sqlite() -> str:
    with connection.cursor() as cursor:
        # The index marks a deleted text as such and keeps it, until its parts are made one.
        cursor.execute("INSERT INTO chat_search (chat_search) VALUES ('optimize')")
        cursor.execute("VACUUM")
        cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        is_busy, *_ = cursor.fetchone()
    if is_busy:
        raise Busy
    return ""


def _postgresql() -> str:
    with connection.cursor() as cursor:
        cursor.execute("SELECT current_setting('lock_timeout')")
        (before,) = cursor.fetchone()
        cursor.execute(f"SET lock_timeout = {LOCK_MS}")
        try:
            for table in TABLES:
                # Without FULL a row's bytes would stay on its page.
                cursor.execute(f"VACUUM (FULL, ANALYZE) {table}")
            # Samples of each column, which ANALYZE has just replaced.
            cursor.execute("VACUUM FULL pg_statistic")
        finally:
            cursor.execute("SELECT set_config('lock_timeout', %s, false)", [before])
    # Only a superuser, or whom one lets, may have the log begun anew; its old files are used again.
    for statement in ("CHECKPOINT", "SELECT pg_switch_wal()", "CHECKPOINT"):
        with suppress(DatabaseError), connection.cursor() as cursor:
            cursor.execute(statement)
    return WAL
