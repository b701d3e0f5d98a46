"""What a start makes sure of, and other commands ask about: the lock, the tables, the static files."""

import fcntl
import hashlib
import os
import re
import time
from pathlib import Path

from django.conf import settings
from django.contrib.staticfiles.finders import get_finders
from django.contrib.staticfiles.storage import ManifestStaticFilesStorage
from django.core.management import call_command
from django.core.management.base import CommandError
from django.db import connection
from django.db.migrations.executor import MigrationExecutor

OLD_STATIC_KEPT_S = 30 * 24 * 3600


def lock_file() -> Path:
    return Path(settings.DATA_DIR / "potok.lock")


def hold(path: Path, *, waits: bool = False) -> int:
    """Take the data directory for this process alone; returns the descriptor that holds it."""
    lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | (0 if waits else fcntl.LOCK_NB))
    except BlockingIOError:
        os.close(lock)
        raise CommandError(
            f"Another Potok already runs on {path.parent}. Stop it first, or set REDIS_URL and"
            " PostgreSQL's DATABASE_URL to run several."
        ) from None
    return lock


def due_migrations() -> list[str]:
    """Such as "chat.0002_roles": those of this version that the database lacks, in their order."""
    executor = MigrationExecutor(connection)
    plan = executor.migration_plan(executor.loader.graph.leaf_nodes())
    return [f"{migration.app_label}.{migration.name}" for migration, _ in plan]


def collect_static() -> None:
    """Collect and compress the static files; those of earlier versions stay for a while.

    Pages of theirs are open, and processes may be.
    """
    before = _hashed_names()
    call_command("collectstatic", interactive=False, verbosity=0)
    _drop_static(before, _hashed_names())
    _stamp().write_text(_facts_of_static())


def is_static_collected() -> bool:
    stamp = _stamp()
    return stamp.exists() and stamp.read_text() == _facts_of_static()


def _stamp() -> Path:
    return Path(settings.STATIC_ROOT / ".collected")


def _facts_of_static() -> str:
    facts = hashlib.sha256()
    for finder in get_finders():
        for name, storage in finder.list([]):
            stat = Path(storage.path(name)).stat()
            facts.update(f"{name} {stat.st_size} {stat.st_mtime_ns}\n".encode())
    return facts.hexdigest()


def _hashed_names() -> set[str]:
    """As the manifest that lies there has them."""
    return set(ManifestStaticFilesStorage().hashed_files.values())


def _drop_static(before: set[str], now: set[str]) -> None:
    """Of what isn't in use `now`, keep what was until `before` for a time, and drop what is older."""
    limit = time.time() - OLD_STATIC_KEPT_S
    for path in settings.STATIC_ROOT.rglob("*.*"):
        name = re.sub(r"\.(gz|br)$", "", path.relative_to(settings.STATIC_ROOT).as_posix())
        if path.is_dir() or name in now or name == ManifestStaticFilesStorage.manifest_name:
            continue
        if name in before:
            path.touch()
        elif path.stat().st_mtime < limit:
            path.unlink()
