"""`manage.py serve`: the pages, the sockets and, in the embedded form, the runner."""

import fcntl
import hashlib
import os
import re
import socket
import time
from pathlib import Path
from typing import Any

from django.conf import settings
from django.contrib.staticfiles.finders import get_finders
from django.contrib.staticfiles.storage import ManifestStaticFilesStorage
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError
from django.db import OperationalError, connection
from django.db.migrations.executor import MigrationExecutor

from chat.catalogues import compile_catalogues
from chat.models import Gateway, User
from chat.models.people import OwnerExists

OLD_STATIC_KEPT_S = 30 * 24 * 3600


class Command(BaseCommand):
    help = (
        "Serve Potok on HOST and PORT. Collects static files and, without Redis, migrates"
        " where that is due."
    )
    requires_system_checks: list[str] = []

    def handle(self, *args: Any, **options: Any) -> None:
        # Held until the process ends, however it ends. Of several with Redis each waits its turn.
        self._lock = hold(settings.DATA_DIR / "potok.lock", waits=not settings.EMBEDDED)
        self._check_port()
        self._prepare()
        if not settings.EMBEDDED:
            os.close(self._lock)
        # Not before: the import takes Twisted's reactor, and what comes before may fail plainly.
        from chat.server import Server  # isort: skip
        from chat.asgi import application

        Server(application, settings.HOST, settings.PORT, self._greet).run()

    def _check_port(self) -> None:
        family = socket.AF_INET6 if ":" in settings.HOST else socket.AF_INET
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((settings.HOST, settings.PORT))
            except OSError as error:
                raise CommandError(
                    f"Cannot listen on {settings.HOST}:{settings.PORT} ({error.strerror}). "
                    f"Stop what uses it, or choose another: PORT={settings.PORT + 1} make run"
                ) from None

    def _greet(self) -> None:
        address = settings.ORIGINS[0]
        names = [gateway["name"] for gateway in settings.GATEWAYS]
        self.stdout.write(f"\nPotok is ready: {address}")
        self.stdout.write(f"Gateways: {', '.join(names) or 'none'}")
        if not any(gateway["slug"] != "demo" for gateway in settings.GATEWAYS):
            self.stdout.write(
                "To chat with real models, set AITUNNEL_API_KEY, AIJORA_API_KEY, OPENROUTER_API_KEY"
                " or OPENAI_API_KEY (with OPENAI_BASE_URL for any other gateway) and start again."
            )
        if self._has_user:
            self.stdout.write("Next: open the address and log in. Ctrl-C ends Potok.\n")
        else:
            self.stdout.write(
                "Next: open the address and create the owner's account. Ctrl-C ends Potok.\n"
            )
        self.stdout.flush()

    def _prepare(self) -> None:
        """Whatever a start needs and an earlier start may have done already."""
        compile_catalogues()
        if not settings.EMBEDDED:
            check_migrated()
        elif is_migration_due():
            call_command("migrate", interactive=False, verbosity=0)
        collect_static()
        Gateway.sync_environment()
        self._create_owner()
        self._has_user = User.objects.exists()
        # The server's threads make their own.
        connection.close()

    def _create_owner(self) -> None:
        owner = settings.FIRST_OWNER
        if not (owner["username"] and owner["password"]) or User.objects.exists():
            return
        try:
            User.create_owner(owner["username"], owner["password"], owner["email"])
        except OwnerExists:
            return
        self.stdout.write(f"Created the owner {owner['username']}.")


def hold(path: Path, *, waits: bool = False) -> int:
    """Take the data directory for this process alone; returns the descriptor that holds it."""
    lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | (0 if waits else fcntl.LOCK_NB))
    except BlockingIOError:
        raise CommandError(
            f"Another Potok already runs on {path.parent}. Stop it first, or set REDIS_URL and"
            " PostgreSQL's DATABASE_URL to run several."
        ) from None
    return lock


def check_migrated() -> None:
    """Raises CommandError where a process of several would meet tables that it doesn't know."""
    try:
        is_due = is_migration_due()
    except OperationalError as error:
        reason = str(error).strip().partition("\n")[0]
        raise CommandError(f"The database does not answer: {reason}") from None
    if is_due:
        raise CommandError(
            "The database is not that of this version. Run `python manage.py migrate` once, as the"
            " release line of the Procfile does, then start this again."
        )


def is_migration_due() -> bool:
    executor = MigrationExecutor(connection)
    return bool(executor.migration_plan(executor.loader.graph.leaf_nodes()))


def collect_static() -> None:
    """Collect and compress the static files where they differ from what was collected last.

    Those of earlier versions stay for a while: pages of theirs are open, and processes may be.
    """
    facts = hashlib.sha256()
    for finder in get_finders():
        for name, storage in finder.list([]):
            stat = Path(storage.path(name)).stat()
            facts.update(f"{name} {stat.st_size} {stat.st_mtime_ns}\n".encode())
    stamp = settings.STATIC_ROOT / ".collected"
    if stamp.exists() and stamp.read_text() == facts.hexdigest():
        return
    before = hashed_names()
    call_command("collectstatic", interactive=False, verbosity=0)
    drop_static(before, hashed_names())
    stamp.write_text(facts.hexdigest())


def hashed_names() -> set[str]:
    """As the manifest that lies there has them."""
    return set(ManifestStaticFilesStorage().hashed_files.values())


def drop_static(before: set[str], now: set[str]) -> None:
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
