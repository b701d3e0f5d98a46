"""From who somebody is to a login: the password, then a second step where there is one.

Between the two a session knows whom it waits for and is nobody's: neither a view nor a socket takes
it for a login.
"""

import time
from enum import StrEnum
from typing import NamedTuple

from django.contrib.auth import login
from django.http import HttpRequest
from django.utils.crypto import constant_time_compare
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from chat.models import AccountPolicy, LoginAttempt, User
from chat.models.logins import Step
from chat.models.sessions import BROWSER, ENTERED_AT

WAITS_S = 600
FRESH_S = 600
_PENDING, _BY = "pending_login", "entered_by"
USER_AGENT_CHARS = 300
_BACKEND = "django.contrib.auth.backends.ModelBackend"


class By(StrEnum):
    """What somebody showed in order to come in."""

    PASSWORD = "password"  # noqa: S105
    CODE = "code"
    RECOVERY = "recovery code"
    PASSKEY = "passkey"
    SSO = "single sign-on"

    @property
    def is_strong(self) -> bool:
        """More than a password that somebody may have learned."""
        return self != By.PASSWORD


class Pending(NamedTuple):
    user: User
    goal: str


def wait_for_code(request: HttpRequest, user: User, goal: str) -> None:
    """The password was right; `goal` is where they go after the second step."""
    # Whoever gave this browser its session key before must not share what follows.
    request.session.cycle_key()
    request.session[_PENDING] = {
        "user": user.pk,
        "hash": user.get_session_auth_hash(),
        "until": time.time() + WAITS_S,
        "goal": goal,
    }


def pending(request: HttpRequest) -> Pending | None:
    """Whose second step this session waits for; nobody's once it took too long."""
    noted = request.session.get(_PENDING)
    if not noted or noted["until"] < time.time():
        return None
    user = User.objects.filter(pk=noted["user"], is_active=True).first()
    if user is None or not constant_time_compare(noted["hash"], user.get_session_auth_hash()):
        return None
    return Pending(user, noted["goal"])


def enter(request: HttpRequest, user: User, by: By) -> None:
    """All steps are done: from here on the session is theirs."""
    request.session.pop(_PENDING, None)
    LoginAttempt.note_success(user.username, address_of(request))
    request.entered_by = by  # for the log of chat/security.py
    login(request, user, backend=_BACKEND)
    request.session[BROWSER] = request.headers.get("User-Agent", "")[:USER_AGENT_CHARS]
    strengthen(request, by)


def strengthen(request: HttpRequest, by: By) -> None:
    """What was shown just now, in a session that may be older."""
    request.session[_BY], request.session[ENTERED_AT] = by, time.time()


def is_strong(request: HttpRequest) -> bool:
    by = request.session.get(_BY)
    return by in list(By) and By(by).is_strong


def may_administer(request: HttpRequest) -> bool:
    """Whether they came in by as much as the owner asks of those who may see others' things."""
    return is_strong(request) or not AccountPolicy.current().staff_takes_two_steps


def is_fresh(request: HttpRequest) -> bool:
    """Whether they came in so lately that they need not say again who they are."""
    return time.time() - float(request.session.get(ENTERED_AT, 0)) < FRESH_S


def address_of(request: HttpRequest) -> str:
    return str(request.META.get("REMOTE_ADDR", ""))


def too_many(wait_s: int, step: Step = Step.PASSWORD) -> str:
    """What a guesser is told, and whoever is taken for one."""
    what = {
        Step.PASSWORD: _("Too many wrong passwords."),
        Step.SIGN_UP: _("Too many new accounts."),
    }.get(step, _("Too many wrong codes."))
    minutes = -(-wait_s // 60)
    if minutes <= 90:
        when = ngettext("Try again in %(n)d minute.", "Try again in %(n)d minutes.", minutes)
        return f"{what} {when % {'n': minutes}}"
    hours = -(-minutes // 60)
    when = ngettext("Try again in %(n)d hour.", "Try again in %(n)d hours.", hours)
    return f"{what} {when % {'n': hours}}"
