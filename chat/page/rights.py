"""Whether a socket may stay open: the same login that a request would need, asked again and again.

All sockets of a process are asked for at once, in two queries however many there are.
"""

import asyncio
import contextvars
import logging
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from http.cookies import SimpleCookie
from typing import Any

from django.conf import settings
from django.contrib.auth import HASH_SESSION_KEY, SESSION_KEY
from django.db import DatabaseError, InterfaceError
from django.utils import timezone
from django.utils.crypto import constant_time_compare
from django.utils.translation import get_supported_language_variant
from django.utils.translation.trans_real import parse_accept_lang_header

from chat.models import User
from chat.replies.database import in_database
from chat.sessions import Session as SessionRow
from chat.sessions import SessionStore

logger = logging.getLogger(__name__)
EVERY_S = 2.0
KNOWN_FOR_S = 60.0


@dataclass(frozen=True)
class Session:
    """A login as a socket's handshake showed it."""

    key: str
    language: str

    @classmethod
    def of_scope(cls, scope: dict[str, Any]) -> "Session":
        headers = {name: value.decode("latin1") for name, value in scope["headers"]}
        cookies = SimpleCookie(headers.get(b"cookie", ""))
        morsel = cookies.get(settings.SESSION_COOKIE_NAME)
        key = SessionStore(morsel.value if morsel else None).session_key
        return cls(key or "", _language(headers))


def users_of(keys: Iterable[str]) -> dict[str, int]:
    """The ids of the users whose sessions these are; a session that is over is left out."""
    store = SessionStore()
    rows = SessionRow.objects.filter(session_key__in=set(keys), expire_date__gt=timezone.now())
    sessions = {row.session_key: store.decode(row.session_data) for row in rows}
    ids = {session.get(SESSION_KEY) for session in sessions.values()} - {None}
    users = {str(user.pk): user for user in User.objects.filter(pk__in=ids, is_active=True)}
    found = {}
    for key, session in sessions.items():
        user = users.get(session.get(SESSION_KEY, ""))
        # A new password ends the sessions that were opened with the old one.
        if user and constant_time_compare(
            session.get(HASH_SESSION_KEY, ""), user.get_session_auth_hash()
        ):
            found[key] = user.pk
    return found


@dataclass
class Rights:
    """Calls `over` of each watched session that has ended."""

    _watched: dict[object, tuple[str, Callable[[], None]]] = field(default_factory=dict)
    _task: asyncio.Task[None] | None = None

    async def watch(self, who: object, session: Session, over: Callable[[], None]) -> int | None:
        """The user's id, watched from now on; None for a login that isn't one."""
        user = (await in_database(users_of)([session.key])).get(session.key)
        if user is not None:
            self._watched[who] = (session.key, over)
            if self._task is None:
                self._task = asyncio.get_running_loop().create_task(
                    self._ask_forever(), context=contextvars.Context(), name="rights"
                )
        return user

    def forget(self, who: object) -> None:
        self._watched.pop(who, None)
        if not self._watched and self._task is not None:
            self._task.cancel()
            self._task = None

    async def _ask_forever(self) -> None:
        known_at = time.monotonic()
        while True:
            await asyncio.sleep(EVERY_S)
            watched = dict(self._watched)
            try:
                valid = await in_database(users_of)({key for key, _ in watched.values()})
                known_at = time.monotonic()
            except (DatabaseError, InterfaceError) as error:
                # While it cannot be asked, rights stand as they were last known, for a minute.
                logger.warning("Logins could not be checked: %s", error)
                if time.monotonic() - known_at < KNOWN_FOR_S:
                    continue
                valid = {}
            for key, over in watched.values():
                if key not in valid:
                    over()


def _language(headers: dict[bytes, str]) -> str:
    for code, _ in parse_accept_lang_header(headers.get(b"accept-language", "")):
        try:
            return get_supported_language_variant(code)
        except LookupError:
            continue
    return settings.LANGUAGE_CODE


rights = Rights()
