"""`manage.py erase_person`: everything of one person's goes, but what they used."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import DatabaseError

from chat import security
from chat.models import Erasure, User, erasure, residue
from chat.models.conversations import Held
from chat.models.read_log import pseudonym


class Command(BaseCommand):
    help = (
        "Remove a person with all that is theirs, and have the database's files hold nothing of it."
        " What they used stays, under a key. Potok may run meanwhile."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("username", nargs="?")
        parser.add_argument("--yes", action="store_true", help="Don't ask; there is no way back.")
        parser.add_argument(
            "--clean",
            action="store_true",
            help="Only finish what earlier erasures left to be cleaned in the files.",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        if not options["clean"]:
            self._erase(options["username"], is_sure=options["yes"])
        try:
            Erasure.clean_files()
        except (DatabaseError, residue.Busy) as exc:
            raise CommandError(
                "The rows are gone, and the database's files could not be cleaned now"
                f" ({exc or 'somebody reads them'}). Run it again with --clean."
            ) from None
        self.stdout.write("The database's files hold nothing of it.")
        if Erasure.objects.filter(residue=residue.WAL).exists():
            self.stdout.write(
                "PostgreSQL's write-ahead log may, until its files are written over: docs/operations.md."
            )

    def _erase(self, username: str | None, *, is_sure: bool) -> None:
        person = User.objects.filter(username=username).first()
        if person is None:
            raise CommandError("There is no such person.")
        if not is_sure and input(f"Erase {username} for good? Type the name: ") != username:
            raise CommandError("Nothing was erased.")
        try:
            receipt = erasure.erase(person, by=None)
        except Held:
            raise CommandError("A legal hold stands on them or on what is theirs.") from None
        except erasure.LastOwner:
            raise CommandError("This is the last owner.") from None
        security.note("person_erased", key=pseudonym(receipt.key))
        self.stdout.write(
            f"Erased {pseudonym(receipt.key)}: {sum(receipt.tables.values())} rows are gone,"
            f" {receipt.calls} calls stay under the key. Receipt {receipt.pk}."
        )
        for backup in receipt.backups:
            self.stdout.write(f"A backup still holds it: {backup['path']} ({backup['made_at']})")
