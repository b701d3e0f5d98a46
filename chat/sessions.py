"""Django's sessions in the database: for keys that it could have given, and with whose each is."""

from collections.abc import Mapping
from typing import Any

from django.contrib.auth import SESSION_KEY
from django.contrib.sessions.backends import db
from django.contrib.sessions.base_session import AbstractBaseSession
from django.db import models

NOBODY = 0


class Session(AbstractBaseSession):
    """A row of Django's own table, which has a column more here."""

    # No foreign key: the version before deletes a person and knows nothing of this column. It leaves
    # NULL, which is to be read as "look inside".
    user_id = models.BigIntegerField(null=True, db_index=True)

    class Meta:
        db_table = "django_session"
        # Made by Django's migration; the version before works on it while this one starts.
        managed = False
        default_permissions = ()

    @classmethod
    def get_session_store_class(cls) -> type[db.SessionStore]:
        return SessionStore


class SessionStore(db.SessionStore):
    @classmethod
    def get_model_class(cls) -> type[Session]:
        return Session

    def create_model_instance(self, data: dict[str, Any]) -> Session:
        row = super().create_model_instance(data)
        row.user_id = user_id_of(data)
        return row

    def _validate_session_key(self, key: str | None) -> bool:
        """A cookie in quotes may hold any character, and PostgreSQL raises an error for some."""
        return bool(key) and key.isascii() and key.isalnum() and super()._validate_session_key(key)


def user_id_of(said: Mapping[str, Any]) -> int:
    """Whose a session with this in it is; NOBODY's before a login."""
    return int(said.get(SESSION_KEY, NOBODY))
