"""Make anew what is derived from the rows: the full-text index, sums of conversations, days, budgets."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from chat.models import Charge, DayTally, Tally, search


class Command(BaseCommand):
    help = "Index texts for search anew, and add up calls anew: by conversation, by day, by budget."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--check",
            action="store_true",
            help="Change nothing; fail if a sum isn't what its calls say.",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        if not options["check"]:
            Tally.rebuild()
            DayTally.rebuild()
            Charge.rebuild()
            self.stdout.write(f"{search.rebuild()} texts can be found.")
        if wrong := Tally.differences() + DayTally.differences() + Charge.differences():
            raise CommandError(f"{wrong} sums differ from their calls. Run manage.py rebuild.")
        self.stdout.write("Every sum is what its calls say.")
