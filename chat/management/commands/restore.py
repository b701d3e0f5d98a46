"""`manage.py restore`: makes this the installation that a backup holds."""

import os
import tempfile
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import Error

from chat import security
from chat.backup import archive
from chat.backup.contents import (
    UNPACKED,
    Restored,
    drop_leftovers,
    is_empty,
    judge,
    put_back,
    refuse_running,
    sealed_elsewhere,
)
from chat.installation import hold, lock_file
from chat.models import erased
from chat.models.read_log import pseudonym


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
        was_empty = is_empty()
        if not was_empty and not replaces:
            raise CommandError(
                "There is an installation here already. Make a backup of it, then give --replace."
            )
        refuse_running()
        # Beside what it will replace, so that it takes its place by a rename.
        drop_leftovers(settings.DATA_DIR, UNPACKED)
        with tempfile.TemporaryDirectory(prefix=UNPACKED, dir=settings.DATA_DIR) as folder:
            manifest = archive.unpack(path, Path(folder))
            judge(manifest)
            knows_erased = erased.is_kept() or not was_empty
            restored = put_back(manifest, Path(folder), path.absolute())
        messages = manifest["counts"].get("chat_message", 0)
        self.stdout.write(f"Restored {messages} messages, as of {manifest['made_at']}.")
        if restored.cut:
            self.stdout.write(
                f"{restored.cut} replies that ran at that time are marked interrupted."
            )
        self._tell_erased(restored, manifest["made_at"], is_known=knows_erased)
        if sealed := sealed_elsewhere():
            for what, whose in sealed.items():
                self.stdout.write(f"{what} can't be opened: {', '.join(whose)}.")
            self.stdout.write(
                f"Put the file gateway_keys back into {settings.DATA_DIR}, or enter them again."
            )
        self.stdout.write("Every earlier login has ended. Start Potok.")

    def _tell_erased(self, restored: Restored, made_at: str, *, is_known: bool) -> None:
        """A backup holds whoever was erased after it was made."""
        for receipt in restored.receipts:
            security.note("person_erased", key=pseudonym(receipt.key))
            self.stdout.write(f"Erased again: {pseudonym(receipt.key)}. Receipt {receipt.pk}.")
        if restored.stayed:
            self.stdout.write(
                f"These were erased since and are there again: {', '.join(restored.stayed)}. A legal"
                " hold of that time stands on them, or they are the last owner: end that, then"
                " manage.py erase_person."
            )
        if not is_known:
            self.stdout.write(
                f"Whoever was erased after {made_at} is there again, as this place knows of nobody."
                f" Put the file {erased.NAME} of the former data directory into"
                f" {settings.DATA_DIR} and restore once more, or use manage.py erase_person."
            )
