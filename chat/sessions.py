"""Django's sessions in the database, for keys that it could have given."""

from django.contrib.sessions.backends import db


class SessionStore(db.SessionStore):
    def _validate_session_key(self, key: str | None) -> bool:
        """A cookie in quotes may hold any character, and PostgreSQL raises an error for some."""
        return bool(key) and key.isascii() and key.isalnum() and super()._validate_session_key(key)
