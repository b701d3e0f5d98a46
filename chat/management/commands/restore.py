"""`manage.py restore`: makes this the installation that a backup holds."""

import os
import tempfile
from datetime import datetime
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import Error

from chat.backup import archive
from chat.backup.contents import (
    UNPACKED,
    drop_leftovers,
    is_empty,
    judge,
    put_back,
    refuse_running,
    sealed_elsewhere,
)
from chat.installation import hold, lock_file
from chat.models import Backup


class Command(BaseCommand):
    help = (
        "Put a backup in the place of this installation, which must not run, and migrate it."
        " Replies that ran when it was made become interrupted; everybody logs in anew."
    )
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("path", type=Path, help="What `manage.py backup` has written.")
        parser.add_argument(
            "--replace", action="store_true", help="Also where there is an installation already."
        )

    def handle(self, *args: Any, **options: Any) -> None:
        lock = hold(lock_file())
        try:
            self._restore(options["path"], replaces=options["replace"])
        except archive.Broken as exc:
            raise CommandError(f"{options['path']} can't be restored: {exc}.") from None
        except OSError as exc:
            raise CommandError(f"{exc.filename or options['path']}: {exc.strerror}.") from None
        except Error as exc:
            raise CommandError(f"The database does not answer: {exc}") from None
        finally:
            os.close(lock)

    def _restore(self, path: Path, *, replaces: bool) -> None:
        if not is_empty() and not replaces:
            raise CommandError(
                "There is an installation here already. Make a backup of it, then give --replace."
            )
        refuse_running()
        # Beside what it will replace, so that it takes its place by a rename.
        drop_leftovers(settings.DATA_DIR, UNPACKED)
        with tempfile.TemporaryDirectory(prefix=UNPACKED, dir=settings.DATA_DIR) as folder:
            manifest = archive.unpack(path, Path(folder))
            judge(manifest)
            cut = put_back(manifest, Path(folder))
        Backup.note(path.absolute(), datetime.fromisoformat(manifest["made_at"]))
        messages = manifest["counts"].get("chat_message", 0)
        self.stdout.write(f"Restored {messages} messages, as of {manifest['made_at']}.")
        if cut:
            self.stdout.write(f"{cut} replies that ran at that time are marked interrupted.")
        if sealed := sealed_elsewhere():
            self.stdout.write(
                f"The keys of these gateways can't be opened: {', '.join(sealed)}. Put the file"
                f" gateway_keys back into {settings.DATA_DIR}, or enter the keys again."
            )
        self.stdout.write("Every earlier login has ended. Start Potok.")
