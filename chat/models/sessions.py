"""The sessions of a person: browsers in which they are logged in.

Whose a session is stands inside of it only, so each of these reads them all.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from django.contrib.auth import HASH_SESSION_KEY, SESSION_KEY
from django.contrib.sessions.models import Session
from django.utils import timezone
from django.utils.crypto import constant_time_compare, salted_hmac

from chat.sessions import SessionStore

from .people import User

# What a login writes into its session.
ENTERED_AT, BROWSER = "entered_at", "browser"
BATCH = 500
_EVER = datetime.min.replace(tzinfo=UTC)
# As browsers name themselves; most name others as well, so the first that fits counts.
_BROWSERS = {
    "Edg": "Edge",
    "OPR/": "Opera",
    "YaBrowser": "Yandex Browser",
    "SamsungBrowser": "Samsung Internet",
    "Firefox": "Firefox",
    "FxiOS": "Firefox",
    "CriOS": "Chrome",
    "Chrome": "Chrome",
    "Safari": "Safari",
}
_SYSTEMS = {
    "iPhone": "iPhone",
    "iPad": "iPad",
    "Android": "Android",
    "Windows": "Windows",
    "Mac OS X": "macOS",
    "CrOS": "ChromeOS",
    "Linux": "Linux",
}


@dataclass(frozen=True)
class OpenSession:
    """A login that still counts; `user_agent` as its browser said it."""

    key: str
    user_agent: str
    entered_at: datetime | None

    @property
    def name(self) -> str:
        """What an address may hold: by its key anybody would be logged in."""
        return salted_hmac("chat.sessions", self.key, algorithm="sha256").hexdigest()[:32]

    @property
    def browser(self) -> str:
        """'' where it isn't known."""
        return _first(_BROWSERS, self.user_agent)

    @property
    def system(self) -> str:
        return _first(_SYSTEMS, self.user_agent)

    def end(self) -> None:
        """Log it out; its sockets close within seconds."""
        Session.objects.filter(session_key=self.key).delete()


def sessions_of(user: User) -> list[OpenSession]:
    """Those that are open, the latest login first."""
    auth_hash, now = user.get_session_auth_hash(), timezone.now()
    found = [
        OpenSession(
            row.session_key,
            str(said.get(BROWSER, "")),
            datetime.fromtimestamp(said[ENTERED_AT], UTC) if ENTERED_AT in said else None,
        )
        for row, said in _rows_of(user)
        if row.expire_date > now
        and constant_time_compare(said.get(HASH_SESSION_KEY, ""), auth_hash)
    ]
    return sorted(found, key=lambda session: session.entered_at or _EVER, reverse=True)


def remove_sessions(user: User) -> int:
    """Leave no row of theirs, be it open or over: how many there were."""
    keys = [row.session_key for row, _said in _rows_of(user)]
    return sum(
        Session.objects.filter(session_key__in=keys[start : start + BATCH]).delete()[0]
        for start in range(0, len(keys), BATCH)
    )


def _rows_of(user: User) -> Iterator[tuple[Session, dict[str, Any]]]:
    store = SessionStore()
    for row in Session.objects.iterator(BATCH):
        said = store.decode(row.session_data)
        if said.get(SESSION_KEY) == str(user.pk):
            yield row, said


def _first(names: dict[str, str], text: str) -> str:
    return next((name for part, name in names.items() if part in text), "")
