"""Whether a socket may stay open: the same login that a request would need, asked again and again."""

import time
from dataclasses import dataclass, field
from http.cookies import SimpleCookie
from typing import Any

from django.conf import settings
from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY
from django.contrib.sessions.backends.db import SessionStore
from django.db import DatabaseError
from django.utils.crypto import constant_time_compare
from django.utils.translation import get_supported_language_variant
from django.utils.translation.trans_real import parse_accept_lang_header

from chat.models import User

KNOWN_FOR_S = 60.0


@dataclass
class Session:
    key: str
    language: str
    user_id: int = 0
    _valid_at: float = field(default=0.0)

    @classmethod
    def of_scope(cls, scope: dict[str, Any]) -> "Session":
        headers = {name: value.decode("latin1") for name, value in scope["headers"]}
        cookies = SimpleCookie(headers.get(b"cookie", ""))
        morsel = cookies.get(settings.SESSION_COOKIE_NAME)
        return cls(morsel.value if morsel else "", _language(headers))

    def is_valid(self) -> bool:
        """Ask the database; while it is away the last answer stands, for a minute at most."""
        try:
            valid = self._ask()
        except DatabaseError:
            return time.monotonic() - self._valid_at < KNOWN_FOR_S
        if valid:
            self._valid_at = time.monotonic()
        return valid

    def _ask(self) -> bool:
        if not self.key:
            return False
        session = SessionStore(self.key).load()
        if not session or BACKEND_SESSION_KEY not in session:
            return False
        user = User.objects.filter(pk=session.get(SESSION_KEY), is_active=True).first()
        if user is None:
            return False
        self.user_id = user.pk
        return constant_time_compare(
            session.get(HASH_SESSION_KEY, ""), user.get_session_auth_hash()
        )


def _language(headers: dict[bytes, str]) -> str:
    for code, _ in parse_accept_lang_header(headers.get(b"accept-language", "")):
        try:
            return get_supported_language_variant(code)
        except LookupError:
            continue
    return settings.LANGUAGE_CODE
