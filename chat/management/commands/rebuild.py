"""Make anew what is derived from the rows: the full-text index."""

from typing import Any

from django.core.management.base import BaseCommand

from chat.models import search


class Command(BaseCommand):
    help = "Index every question, reply and title anew for search."

    def handle(self, *args: Any, **options: Any) -> None:
        self.stdout.write(f"{search.rebuild()} texts can be found.")
