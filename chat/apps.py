from importlib import import_module
from typing import Any

from django.apps import AppConfig
from django.db import connections
from django.db.models.signals import post_migrate


class ChatConfig(AppConfig):
    name = "chat"
    verbose_name = "Potok"

    def ready(self) -> None:
        post_migrate.connect(keep_triggers, sender=self)
        import_module("chat.security")


def keep_triggers(using: str, **_: Any) -> None:
    """Where a migration rebuilt a table of SQLite's, its triggers are gone."""
    from chat.models import erasure, read_log, search_schema

    connection = connections[using]
    if connection.vendor == "sqlite":
        tables = connection.introspection.table_names()
        guarded = {
            "chat_search": search_schema,
            "chat_readlog": read_log,
            "chat_erasure": erasure,
        }
        for table, module in guarded.items():
            if table in tables:
                module.install(connection)
