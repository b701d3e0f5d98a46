"""`manage.py purge`: what the rules of retention say is to go, now; or what would go."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import DatabaseError

from chat.models import Purge, residue, retention


class Command(BaseCommand):
    help = (
        "Remove for good what the rules of retention say is due; Potok does so once a day by itself."
        " Nothing under a legal hold goes."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--dry-run", action="store_true", help="Remove nothing; say what would go."
        )
        parser.add_argument(
            "--clean",
            action="store_true",
            help="Then write the database's files anew, so that nothing of it lingers in them.",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        if options["dry_run"]:
            self._tell()
            return
        purge = Purge.begin(by_hand=True)
        assert purge
        purge.run()
        self.stdout.write(
            f"Gone: {purge.conversations} conversations, {purge.messages} messages in all."
        )
        if options["clean"]:
            try:
                residue.clean()
            except (DatabaseError, residue.Busy) as exc:
                raise CommandError(f"The files could not be cleaned now: {exc}") from None
            self.stdout.write("The database's files hold nothing of it.")

    def _tell(self) -> None:
        held = 0
        for each in retention.due():
            counts = each.counts()
            held += counts.held
            self.stdout.write(
                f"{each.rule}: {counts.idle} conversations by their last activity,"
                f" {counts.deleted} that were deleted,"
                f" {counts.messages} deleted messages in others."
            )
        self.stdout.write(f"Held back by legal holds: {held} conversations.")
