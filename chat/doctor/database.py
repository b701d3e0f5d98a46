"""The database: does it answer, may it be written, is it set as it should be, is it this version's."""

import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path

from django.db import DatabaseError, Error, connection, transaction
from django.db.migrations.loader import MigrationLoader
from django.utils.translation import gettext as _

from chat.installation import due_migrations

from .finding import Finding, error, ok, warning

WITHIN_S = 5
LEAST_POSTGRESQL = 14
# WAL needs memory that all processes share, which these don't have.
NETWORK_DISKS = frozenset("nfs nfs4 cifs smb3 smbfs 9p fuse.sshfs ceph fuse.glusterfs".split())


class _RollBack(Exception):
    pass


def look() -> Iterator[Finding]:
    """Nothing that it tries stays; the database is left as it was."""
    connection.close()
    connection.settings_dict["OPTIONS"]["timeout" if _is_sqlite() else "connect_timeout"] = WITHIN_S
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
    except Error as exc:
        yield error(
            "database",
            _("The database does not answer: %(why)s") % {"why": first_line(exc)},
            _("Start it, or mend DATABASE_URL."),
        )
        return
    yield _writable() or (_sqlite() if _is_sqlite() else _postgresql())
    yield _migrations()


def _is_sqlite() -> bool:
    return connection.vendor == "sqlite"


def clock_offset_s() -> float | None:
    """How far the database's clock is ahead of ours; None where it has none of its own, or is away."""
    if _is_sqlite():
        return None
    try:
        with connection.cursor() as cursor:
            began = time.time()
            cursor.execute("SELECT extract(epoch FROM clock_timestamp())")
            theirs = float(cursor.fetchone()[0])
    except Error:
        return None
    return theirs - (began + time.time()) / 2


def _writable() -> Finding | None:
    """A finding where nothing can be written."""
    try:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute("CREATE TABLE potok_doctor (id integer)")
            raise _RollBack
    except _RollBack:
        return None
    except DatabaseError as exc:
        return error(
            "database",
            _("The database can be read, but not written: %(why)s") % {"why": first_line(exc)},
            _("See that Potok's user owns it, that it is no replica, and that nothing locks it."),
        )


def _sqlite() -> Finding:
    path = Path(str(connection.settings_dict["NAME"]))
    if disk := _network_disk(path):
        return error(
            "database",
            _("The SQLite file lies on a network disk (%(kind)s), where it will be damaged.")
            % {"kind": disk},
            _("Move POTOK_DATA_DIR to a disk of this machine, or use PostgreSQL."),
        )
    with connection.cursor() as cursor:
        mode = cursor.execute("PRAGMA journal_mode").fetchone()[0]
        synchronous = cursor.execute("PRAGMA synchronous").fetchone()[0]
        flaw = cursor.execute("PRAGMA quick_check(1)").fetchone()[0]
    if flaw != "ok":
        return error(
            "database",
            _("The SQLite file is damaged: %(why)s") % {"why": str(flaw).splitlines()[0]},
            _("Stop Potok, keep a copy of the file, and restore the last backup."),
        )
    if (mode, synchronous) != ("wal", 2):
        return error(
            "database",
            _("SQLite runs with journal_mode=%(mode)s and synchronous=%(level)s, not WAL and FULL.")
            % {"mode": mode, "level": synchronous},
            _("Use a disk on which SQLite can keep a write-ahead log."),
        )
    size = path.stat().st_size / 1024**2
    return ok(
        "database",
        _("SQLite %(version)s, %(size).0f MB, whole and writable.")
        % {"version": sqlite3.sqlite_version, "size": size},
    )


def _network_disk(path: Path) -> str:
    """The kind of network disk that the file lies on, '' for another one, or where Linux isn't."""
    try:
        mounts = Path("/proc/self/mounts").read_text().splitlines()
    except OSError:
        return ""
    found = [line.split(" ")[1:3] for line in mounts]
    places = {str(place): kind for place, kind in found}
    for place in [path, *path.parents]:
        if kind := places.get(str(place)):
            return kind if kind in NETWORK_DISKS else ""
    return ""


def _postgresql() -> Finding:
    names = ("server_encoding", "fsync", "synchronous_commit", "server_version")
    with connection.cursor() as cursor:
        found = {}
        for name in names:
            cursor.execute(f"SHOW {name}")
            found[name] = cursor.fetchone()[0]
        major = connection.pg_version // 10_000
    if major < LEAST_POSTGRESQL:
        return error(
            "database",
            _("PostgreSQL %(version)s is too old.") % {"version": found["server_version"]},
            _("Install PostgreSQL %(least)d or newer.") % {"least": LEAST_POSTGRESQL},
        )
    if found["server_encoding"] != "UTF8":
        return error(
            "database",
            _("The database's encoding is %(encoding)s, which can't hold every text.")
            % {"encoding": found["server_encoding"]},
            _("Create it anew with ENCODING 'UTF8'."),
        )
    if "off" in (found["fsync"], found["synchronous_commit"]):
        return warning(
            "database",
            _("PostgreSQL doesn't wait for its disk; a power cut may take replies with it."),
            _("Set fsync and synchronous_commit to on."),
        )
    return ok(
        "database",
        _("PostgreSQL %(version)s, writable.") % {"version": found["server_version"]},
    )


def _migrations() -> Finding:
    due = due_migrations()
    if due:
        return error(
            "migrations",
            _("Migrations of this version are not applied yet: %(n)d, from %(first)s on.")
            % {"n": len(due), "first": due[0]},
            "python manage.py migrate",
        )
    loader = MigrationLoader(connection)
    beyond = set(loader.applied_migrations or ()) - set(loader.disk_migrations or ())
    if newer := sorted(name for app, name in beyond if app == "chat"):
        return warning(
            "migrations",
            _("The database is that of a newer version (%(last)s).") % {"last": newer[-1]},
            _("Run the newer version; this one may serve beside it for an upgrade only."),
        )
    return ok("migrations", _("Every migration is applied."))


def first_line(exc: BaseException) -> str:
    return (str(exc).strip().splitlines() or [type(exc).__name__])[0]


def is_there() -> bool:
    """Whether the tables can be asked at all."""
    try:
        return not due_migrations()
    except Error:
        return False
