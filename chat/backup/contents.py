"""What an installation is made of, packed into a backup and put back."""

import json
import secrets as random
import shutil
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from types import ModuleType
from uuid import UUID

import redis
from django.conf import settings
from django.core.management import call_command
from django.core.management.base import CommandError
from django.db import DatabaseError, connection
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.recorder import MigrationRecorder
from django.utils import timezone

from chat.models import (
    Backup,
    Erasure,
    Gateway,
    Generation,
    IdentityProvider,
    SecondFactor,
    User,
    bells,
    erased,
    erasure,
    residue,
    secrets,
)
from chat.replies import branch

from . import archive, postgresql, sqlite
from .archive import Manifest

KEYS = ("secret_key", "gateway_keys")
# Made anew by a start, or another machine's business. What begins with a dot is somebody's draft.
NOT_KEPT = {"static", "backups", "potok.lock", "last_backup", erased.NAME, *KEYS}
# In the folders that a backup and a restore work in; both hold the database in plain.
DRAFT, UNPACKED = ".potok-backup-", ".restore-"
LEFTOVER_S = 24 * 3600


def database() -> ModuleType:
    return sqlite if connection.vendor == "sqlite" else postgresql


# --- out ------------------------------------------------------------------------------------------


def drop_leftovers(folder: Path, prefix: str) -> None:
    """What a backup or a restore that was killed had unpacked; one that runs is younger."""
    for left in folder.glob(f"{prefix}*"):
        if left.is_dir() and time.time() - left.stat().st_mtime > LEFTOVER_S:
            shutil.rmtree(left, ignore_errors=True)


def pack(target: Path, folder: Path, *, with_keys: bool) -> Manifest:
    """Write the backup, by way of `folder` beside it."""
    counts = database().dump(folder)
    # After the rows, so that every file that a row names is there.
    _copy_files(folder / "files")
    keys = [name for name in KEYS if (settings.DATA_DIR / name).exists()]
    if with_keys and keys:
        (folder / "keys").mkdir()
        for name in keys:
            shutil.copyfile(settings.DATA_DIR / name, folder / "keys" / name)
    manifest = {
        "potok": settings.VERSION,
        "made_at": timezone.now().isoformat(timespec="seconds"),
        "database": connection.vendor,
        "migrations": sorted(map(list, MigrationRecorder(connection).applied_migrations())),
        "counts": counts,
        "keys": keys if with_keys else [],
    }
    archive.write(target, folder, manifest)
    _note(target, manifest)
    return manifest


def _copy_files(to: Path) -> None:
    for path in sorted(settings.DATA_DIR.iterdir()):
        if path.name in NOT_KEPT or path.name.startswith(".") or _is_database(path):
            continue
        for file in [path] if path.is_file() else sorted(path.rglob("*")):
            if file.is_symlink() or not file.is_file():
                continue
            place = to / file.relative_to(settings.DATA_DIR)
            place.parent.mkdir(parents=True, exist_ok=True)
            try:
                shutil.copyfile(file, place)
            except FileNotFoundError:
                place.unlink(missing_ok=True)  # deleted in this moment


def _is_database(path: Path) -> bool:
    place = str(connection.settings_dict["NAME"])
    return connection.vendor == "sqlite" and str(path).startswith(place)


def _note(target: Path, manifest: Manifest) -> None:
    """For the doctor, and for the receipts of those who are erased after it was made."""
    draft = settings.DATA_DIR / ".last_backup"
    draft.write_text(json.dumps({"path": str(target), "made_at": manifest["made_at"]}))
    draft.replace(settings.DATA_DIR / "last_backup")
    Backup.note(target, datetime.fromisoformat(manifest["made_at"]))


# --- and back -------------------------------------------------------------------------------------


def judge(manifest: Manifest) -> None:
    """Raises CommandError where this version can't take what was unpacked."""
    if manifest["database"] != connection.vendor:
        raise CommandError(
            f"This is a backup of {manifest['database']}, and DATABASE_URL names a database of"
            f" {connection.vendor}."
        )
    known = set(MigrationLoader(None, ignore_no_migrations=True).disk_migrations or ())
    beyond = sorted(name for app, name in manifest["migrations"] if (app, name) not in known)
    if beyond:
        raise CommandError(
            f"A newer version made this backup ({manifest['potok']}, with {beyond[-1]})."
            " Install that version, or a later one."
        )


def refuse_running() -> None:
    """Raises CommandError where a process of Potok uses what is about to be replaced."""
    if connection.vendor == "postgresql":
        postgresql.refuse_others()
    if not settings.EMBEDDED:
        try:
            with redis.Redis.from_url(settings.REDIS_URL, socket_timeout=3) as client:
                ((_, listening),) = client.pubsub_numsub(bells.CHANNEL)
        except (redis.RedisError, OSError):
            return  # then it is the database alone that tells
        if listening:
            raise CommandError(f"Potok still runs ({listening} processes). Stop it first.")


def is_empty() -> bool:
    tables = connection.introspection.table_names()
    return User._meta.db_table not in tables or not User.objects.exists()


@dataclass(frozen=True)
class Restored:
    """What was done to what the backup holds."""

    cut: int  # replies that ran
    receipts: list[Erasure]  # of whoever had been erased since, and is again
    stayed: list[str]  # who had been erased since, and is there


def put_back(manifest: Manifest, folder: Path, path: Path) -> Restored:
    """Make this the installation that was packed, as of this version."""
    gone = keys_of_erased()
    erased.add(gone)
    with database().replaced(folder, manifest["counts"]):
        call_command("migrate", interactive=False, verbosity=0)
        cut = Generation.sweep([], kind="restart", usage=branch.cut_usage)
        # Before the receipts, which name it.
        Backup.note(path, datetime.fromisoformat(manifest["made_at"]))
        receipts, stayed = erasure.erase_again(gone)
        # What can't be cleaned now the process tries every hour.
        with suppress(DatabaseError, residue.Busy):
            Erasure.clean_files()
    _put_files(folder / "files")
    for name in manifest["keys"]:
        # Where the environment has said it, the file is not asked.
        if name != "secret_key" or (settings.DATA_DIR / name).exists():
            (folder / "keys" / name).replace(settings.DATA_DIR / name)
    archive.sync_folder(settings.DATA_DIR)
    return Restored(cut, receipts, stayed)


def keys_of_erased() -> set[UUID]:
    """Whom this place knows to have been erased: its file, and the receipts of its database."""
    found = erased.keys_of_file()
    # It may be empty, damaged, or of a version without receipts.
    with suppress(DatabaseError):
        found.update(Erasure.objects.values_list("key", flat=True))
    return found


def _put_files(folder: Path) -> None:
    """Each file or folder takes the place of the one of its name."""
    for path in sorted(folder.iterdir()) if folder.exists() else []:
        place = settings.DATA_DIR / path.name
        old = place.with_name(f".{path.name}.{random.token_hex(8)}")
        if place.exists():
            place.rename(old)
        path.rename(place)
        if old.is_dir():
            shutil.rmtree(old)
        else:
            old.unlink(missing_ok=True)


def sealed_elsewhere() -> dict[str, list[str]]:
    """What can't be opened here, and whose it is."""
    gateways = Gateway.objects.exclude(source="environment").values_list("slug", "sealed_key")
    providers = IdentityProvider.objects.exclude(is_from_environment=True)
    factors = SecondFactor.objects.values_list("user__username", "sealed_secret")
    found = {
        "The keys of these gateways": _sealed(gateways),
        "The secrets of these providers of single sign-on": _sealed(
            providers.values_list("slug", "sealed_secret")
        ),
        "The second steps of these people, who log in with recovery codes": _sealed(factors),
    }
    return {what: whose for what, whose in found.items() if whose}


def _sealed(rows: Iterable[tuple[str, str]]) -> list[str]:
    return [name for name, sealed in rows if sealed and not secrets.is_ours(sealed)]
