"""Parts of names, in any case: `name__fold__contains=fold(word)` reads every row.

SQLite folds ASCII only, so it is lent our folding.
"""

from typing import Any

from django.db.backends.signals import connection_created
from django.db.models import CharField, TextField, Transform
from django.dispatch import receiver

from chat.rendering import words


def fold(text: str | None) -> str | None:
    return None if text is None else words.fold(text)


@CharField.register_lookup
@TextField.register_lookup
class Fold(Transform):
    lookup_name = "fold"
    function = "POTOK_FOLD"
    output_field = TextField()

    def as_postgresql(self, compiler: Any, connection: Any, **extra: Any) -> Any:
        return self.as_sql(
            compiler, connection, template="REPLACE(LOWER(%(expressions)s), 'ё', 'е')", **extra
        )


@receiver(connection_created)
def lend_folding(connection: Any, **_: Any) -> None:
    if connection.vendor == "sqlite":
        connection.connection.create_function("POTOK_FOLD", 1, fold, deterministic=True)
