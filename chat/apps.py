from typing import Any

from django.apps import AppConfig
from django.db import connections
from django.db.models.signals import post_migrate


class ChatConfig(AppConfig):
    name = "chat"
    verbose_name = "Potok"

    def ready(self) -> None:
        post_migrate.connect(keep_triggers, sender=self)


def keep_triggers(using: str, **_: Any) -> None:
    """Where a migration rebuilt a table of SQLite's, its triggers are gone."""
    from chat.models import search_schema

    if connections[using].vendor == "sqlite" and search_schema.is_there(connections[using]):
        search_schema.install(connections[using])
