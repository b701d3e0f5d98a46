"""PostgreSQL: what pg_dump sees in one snapshot, restored in one transaction."""

import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from django.core.management.base import CommandError
from django.db import connection, transaction

from chat.scrubbing import scrub

PART, SCRIPT = "database.dump", "database.sql"
# Whoever has a session's row is logged in by it, so none is ever kept.
SESSIONS = "django_session"
OURS = ("chat_", "auth_", "django_")
LOOK_FOR_S, LOCK_S = 2.0, 10
PACKAGE = "postgresql-client"


def dump(folder: Path) -> dict[str, int]:
    """Dump the database as it is at one moment, whoever writes meanwhile; how many rows it has."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        cursor.execute("SELECT pg_export_snapshot()")
        (snapshot,) = cursor.fetchone()
        server = connection.pg_version // 10_000
        _check_version("pg_dump", server)
        _run(
            "pg_dump",
            "--format=custom",
            "--compress=0",
            "--no-owner",
            "--no-privileges",
            f"--snapshot={snapshot}",
            f"--exclude-table-data={SESSIONS}",
            f"--file={folder / PART}",
        )
        return _counts()


@contextmanager
def replaced(folder: Path, counts: dict[str, int]) -> Iterator[None]:
    """Put the unpacked dump in the place of all that is there, in one transaction; then the block."""
    # To its end, before anything is touched: psql would take half of it for the whole.
    _run("pg_restore", f"--file={folder / SCRIPT}", folder / PART, connects=False)
    connection.close()
    _run(
        "psql",
        "--no-psqlrc",
        "--quiet",
        "--output=/dev/null",
        "--single-transaction",
        "--set=ON_ERROR_STOP=1",
        f"--command=SET lock_timeout = '{LOCK_S}s'; DROP SCHEMA public CASCADE; CREATE SCHEMA public",
        f"--file={folder / SCRIPT}",
    )
    if _counts() != counts:
        raise CommandError("The database doesn't have the rows that the backup counts.")
    yield


def refuse_others() -> None:
    """Raises CommandError where somebody else uses the database, or keeps other tables in it."""
    foreign = [name for name in connection.introspection.table_names() if not name.startswith(OURS)]
    if foreign:
        raise CommandError(
            f"The database holds tables that aren't Potok's ({foreign[0]}). It would lose them:"
            " restore into a database of its own."
        )
    end = time.monotonic() + LOOK_FOR_S
    # A process of Potok holds no connection between two questions, but it asks every second.
    while time.monotonic() < end:
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
                " AND pid <> pg_backend_pid() AND backend_type = 'client backend'"
            )
            if cursor.fetchone()[0]:
                raise CommandError(
                    "Somebody else is connected to the database. Stop every process of Potok first."
                )
        time.sleep(0.05)


def _counts() -> dict[str, int]:
    counts = {}
    with connection.cursor() as cursor:
        for name in sorted(connection.introspection.table_names(cursor)):
            cursor.execute(f'SELECT count(*) FROM "{name}"')  # noqa: S608
            counts[name] = 0 if name == SESSIONS else cursor.fetchone()[0]
    return counts


def _run(name: str, *arguments: str | Path, connects: bool = True) -> None:
    """Run one of PostgreSQL's programs; the password goes by its environment, not for all to see."""
    (_, *where), env = connection.client.settings_to_cmd_args_env(connection.settings_dict, [])
    if connects:
        *options, database = where
        where = [*options, f"--dbname={database}"]
    done = subprocess.run(
        [_program(name), *(where if connects else []), *map(str, arguments)],
        env={**(env or {}), "PATH": "/usr/local/bin:/usr/bin:/bin"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if "error" in line.lower()]
        why = (lines or done.stderr.splitlines() or [f"status {done.returncode}"])[0]
        raise CommandError(f"{name} failed: {scrub(why)}")


def _program(name: str) -> str:
    found = shutil.which(name)
    if not found:
        raise CommandError(f"{name} is not installed: sudo apt install {PACKAGE}")
    return found


def _check_version(name: str, server: int) -> None:
    said = subprocess.run([_program(name), "--version"], capture_output=True, text=True, check=True)
    found = re.search(r"\) (\d+)", said.stdout)
    if found and int(found[1]) < server:
        raise CommandError(
            f"{name} is of version {found[1]}, PostgreSQL of version {server}: install"
            f" {PACKAGE}-{server}."
        )
