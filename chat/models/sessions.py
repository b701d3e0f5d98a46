"""The sessions of a person: browsers in which they are logged in."""

from dataclasses import dataclass
from datetime import UTC, datetime

from django.contrib.auth import HASH_SESSION_KEY
from django.db import connections, models, transaction
from django.utils import timezone
from django.utils.crypto import constant_time_compare, salted_hmac

from chat.sessions import Session, SessionStore, user_id_of

from .people import User

# What a login writes into its session.
ENTERED_AT, BROWSER = "entered_at", "browser"
BATCH = 500
_NOTE = "UPDATE django_session SET user_id = %s WHERE session_key = %s"
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
    auth_hash = user.get_session_auth_hash()
    rows = _rows_of(user).filter(expire_date__gt=timezone.now())
    found = [
        OpenSession(
            row.session_key,
            str(said.get(BROWSER, "")),
            datetime.fromtimestamp(said[ENTERED_AT], UTC) if ENTERED_AT in said else None,
        )
        for row, said in ((row, row.get_decoded()) for row in rows)
        if constant_time_compare(said.get(HASH_SESSION_KEY, ""), auth_hash)
    ]
    return sorted(found, key=lambda session: session.entered_at or _EVER, reverse=True)


def remove_sessions(user: User) -> int:
    """Leave no row of theirs, be it open or over: how many there were."""
    return _rows_of(user).delete()[0]


def forget_over() -> None:
    """The rows of sessions that are over, whosever they were."""
    SessionStore.clear_expired()


def note_users(unknown: models.QuerySet[Session]) -> None:
    """Write beside each of these sessions whose it is: the version before leaves that out."""
    store = SessionStore()
    while True:
        with transaction.atomic(unknown.db), connections[unknown.db].cursor() as cursor:
            rows = unknown.select_for_update().values_list("pk", "session_data")
            noted = [(user_id_of(store.decode(said)), key) for key, said in rows[:BATCH]]
            # bulk_update() takes ten times as long.
            cursor.executemany(_NOTE, noted)
        if len(noted) < BATCH:
            return


def _rows_of(user: User) -> models.QuerySet[Session]:
    note_users(Session.objects.filter(user_id=None))
    return Session.objects.filter(user_id=user.pk)


def _first(names: dict[str, str], text: str) -> str:
    return next((name for part, name in names.items() if part in text), "")
