"""SQLite: copied by its own online backup, checked as a copy, put in place by a rename."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from urllib.parse import quote

from django.core.management.base import CommandError
from django.db import connection

from .archive import sync_folder

PART = "database.sqlite3"
WAIT_S = 20
# Whoever has a session's row is logged in by it, so none is ever kept.
SESSIONS = "django_session"


def dump(folder: Path) -> dict[str, int]:
    """Copy the database as it is at one moment, whoever writes meanwhile; how many rows it has."""
    place = Path(str(connection.settings_dict["NAME"]))
    if not place.exists():
        raise CommandError(f"There is no database at {place}.")
    draft = folder / PART
    draft.touch(mode=0o600)
    try:
        _copy(place, draft)
        flaw = _flaw(draft)
    except sqlite3.DatabaseError as exc:
        flaw = str(exc)
    if flaw:
        raise CommandError(f"The database can't be backed up ({flaw}).")
    return _counts(draft)


def _copy(place: Path, draft: Path) -> None:
    address = f"file:{quote(str(place))}?mode=ro"
    with (
        closing(sqlite3.connect(address, uri=True, timeout=WAIT_S)) as source,
        closing(sqlite3.connect(draft, isolation_level=None)) as copy,
    ):
        # In one step: bit by bit it would begin anew with each write of somebody else.
        source.backup(copy)
        copy.execute("PRAGMA journal_mode=DELETE")
        copy.execute("PRAGMA secure_delete=ON")
        if SESSIONS in _tables(copy):
            copy.execute(f"DELETE FROM {SESSIONS}")  # noqa: S608


@contextmanager
def replaced(folder: Path, counts: dict[str, int]) -> Iterator[None]:
    """The block works on the unpacked copy, which takes the database's place when it is done."""
    place, draft = Path(str(connection.settings_dict["NAME"])), folder / PART
    _check(draft, counts)
    connection.close()
    connection.settings_dict["NAME"] = str(draft)
    try:
        yield
    finally:
        # The last one to close it brings all that was written into the one file.
        connection.close()
        connection.settings_dict["NAME"] = str(place)
    if place.exists():
        _fold_log(place)
    draft.replace(place)
    place.chmod(0o600)
    sync_folder(place.parent)


def _check(draft: Path, counts: dict[str, int]) -> None:
    """Raises CommandError where the unpacked copy isn't the one that was counted."""
    if flaw := _flaw(draft):
        raise CommandError(f"The database in this backup is damaged ({flaw}).")
    if _counts(draft) != counts:
        raise CommandError("The database in this backup doesn't have the rows it should.")


def _fold_log(place: Path) -> None:
    """Bring the old file's log into it and away: beside the new file it would be taken for its own."""
    # It may be damaged, and be replaced for that.
    with closing(sqlite3.connect(place, timeout=WAIT_S)) as old, suppress(sqlite3.DatabaseError):
        old.execute("PRAGMA journal_mode=DELETE").fetchone()
    for suffix in ("-wal", "-shm"):
        place.with_name(place.name + suffix).unlink(missing_ok=True)


def _flaw(draft: Path) -> str:
    """What is wrong with it, '' for nothing."""
    with closing(sqlite3.connect(draft)) as copy:
        try:
            said = str(copy.execute("PRAGMA integrity_check(1)").fetchone()[0])
            orphan = copy.execute("PRAGMA foreign_key_check").fetchone()
        except sqlite3.DatabaseError as exc:
            return str(exc)
    if said != "ok":
        return said.splitlines()[-1]
    return f"a row of {orphan[0]} belongs to one of {orphan[2]} that is gone" if orphan else ""


def _counts(draft: Path) -> dict[str, int]:
    with closing(sqlite3.connect(draft)) as copy:
        return {
            name: copy.execute(f'SELECT count(*) FROM "{name}"').fetchone()[0]  # noqa: S608
            for name in _tables(copy)
        }


def _tables(copy: sqlite3.Connection) -> list[str]:
    rows = copy.execute(
        "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'"
    )
    return sorted(str(name) for (name,) in rows)
