"""`manage.py serve`: the pages, the sockets and, in the embedded form, the runner."""

import os
import resource
import socket
import sys
from collections.abc import Callable
from functools import partial
from typing import Any

from django.conf import settings
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError
from django.db import OperationalError, connection

from chat.allocator import give_back, keep
from chat.catalogues import compile_catalogues
from chat.installation import (
    collect_static,
    due_migrations,
    hold,
    is_static_collected,
    lock_file,
)
from chat.models import Gateway, IdentityProvider, User
from chat.models.people import OwnerExists

OPEN_FILES = 65536


class Command(BaseCommand):
    help = (
        "Serve Potok on HOST and PORT. Collects static files and, without Redis, migrates"
        " where that is due."
    )
    requires_system_checks: list[str] = []

    def handle(self, *args: Any, **options: Any) -> None:
        give_back()
        # Held until the process ends, however it ends. Of several with Redis each waits its turn.
        self._lock = hold(lock_file(), waits=not settings.EMBEDDED)
        self._check_port()
        raise_open_files()
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
        keep()
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
        elif due_migrations():
            apart(partial(call_command, "migrate", interactive=False, verbosity=0))
        if not is_static_collected():
            apart(collect_static)
        Gateway.sync_environment()
        IdentityProvider.sync_environment()
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


def apart(work: Callable[[], object]) -> None:
    """Have it done by a child, whose memory goes with it: a first start takes 50 MB for good else."""
    connection.close()
    if (child := os.fork()) == 0:
        work()
        sys.exit()
    if code := os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]):
        sys.exit(code)  # it has said why


def raise_open_files() -> None:
    """As far as we may: each open page takes one, and the usual limit of a shell is 1024."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    may = OPEN_FILES if hard == resource.RLIM_INFINITY else min(hard, OPEN_FILES)
    if soft != resource.RLIM_INFINITY and soft < may:
        resource.setrlimit(resource.RLIMIT_NOFILE, (may, hard))


def check_migrated() -> None:
    """Raises CommandError where a process of several would meet tables that it doesn't know."""
    try:
        is_due = due_migrations()
    except OperationalError as error:
        reason = str(error).strip().partition("\n")[0]
        raise CommandError(f"The database does not answer: {reason}") from None
    if is_due:
        raise CommandError(
            "The database is not that of this version. Run `python manage.py migrate` once, as the"
            " release line of the Procfile does, then start this again."
        )
