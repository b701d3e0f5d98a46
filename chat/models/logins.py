"""Tries to log in: how often a password or a code may be guessed, without shutting its owner out.

A guesser at one address is slowed down there. One who changes addresses is stopped for the account,
except at addresses where its owner has come in before, so that nobody can lock somebody else out of
the places where he works. The second step is counted apart: whoever guesses there has the password
already, and six digits are soon guessed.
"""

import ipaddress
from dataclasses import dataclass
from datetime import timedelta

from django.conf import settings
from django.db import models
from django.utils import timezone
from django.utils.crypto import salted_hmac

KEPT = timedelta(days=60)


@dataclass(frozen=True)
class Limit:
    """So many failures within this time; the oldest of them has to grow older for another try."""

    failures: int
    within: timedelta


HERE = Limit(6, timedelta(minutes=5))  # one account from one address
ADDRESS = Limit(60, timedelta(minutes=15))  # all accounts from one address
ACCOUNT = Limit(30, timedelta(hours=1))  # one account from addresses that are not its own
CODES = Limit(20, timedelta(days=1))  # of a device, for one account from one such address or all
SIGN_UPS = Limit(30, timedelta(hours=1))  # accounts that strangers make from one address
ALL_SIGN_UPS = Limit(300, timedelta(hours=1))


class Step(models.TextChoices):
    """What is guessed at, or done too often."""

    PASSWORD = "account"  # noqa: S105
    CODE = "code"
    RECOVERY = "recovery"
    SIGN_UP = "sign-up"


_LIMITS_HERE = {Step.CODE: (HERE, CODES), Step.SIGN_UP: (SIGN_UPS,)}
_LIMIT_ANYWHERE = {Step.CODE: CODES, Step.SIGN_UP: ALL_SIGN_UPS}


class LoginAttempt(models.Model):
    # Both are keyed digests: what somebody typed into the wrong field is not kept.
    account = models.CharField(max_length=64)
    address = models.CharField(max_length=64)
    succeeded = models.BooleanField()
    at = models.DateTimeField(default=timezone.now)

    class Meta:
        indexes = [
            models.Index(fields=["account", "at"], name="login_account"),
            models.Index(fields=["address", "at"], name="login_address"),
            models.Index(fields=["at"], name="login_age"),
        ]

    def __str__(self) -> str:
        return f"{'in' if self.succeeded else 'out'} {self.at:%Y-%m-%d %H:%M:%S}"

    @classmethod
    def wait_s(cls, username: str, address: str, step: Step = Step.PASSWORD) -> int:
        """Seconds until this account may be tried from there again; 0 is now."""
        account, place = _account(username, step), _place(address)
        rows = cls.objects.filter(succeeded=False)
        here, anywhere = rows.filter(account=account, address=place), rows.filter(account=account)
        waits = [_wait(here, limit) for limit in _LIMITS_HERE.get(step, (HERE,))]
        waits.append(_wait(rows.filter(address=place), ADDRESS))
        if not cls._came_in_before(username, place):
            waits.append(_wait(anywhere, _LIMIT_ANYWHERE.get(step, ACCOUNT)))
        return max(waits)

    @classmethod
    def note_failure(cls, username: str, address: str, step: Step = Step.PASSWORD) -> None:
        account, place = _account(username, step), _place(address)
        cls.objects.create(account=account, address=place, succeeded=False)

    @classmethod
    def note_success(cls, username: str, address: str) -> None:
        """They are in, all steps done: what went wrong before at this address is forgiven."""
        accounts, place = [_account(username, step) for step in Step], _place(address)
        cls.objects.filter(account__in=accounts, address=place).delete()
        cls.objects.create(account=accounts[0], address=place, succeeded=True)

    @classmethod
    def _came_in_before(cls, username: str, place: str) -> bool:
        account = _account(username, Step.PASSWORD)
        return cls.objects.filter(account=account, address=place, succeeded=True).exists()

    @classmethod
    def forget(cls, username: str) -> int:
        """All tries at this account; how many those were."""
        accounts = [_account(username, step) for step in Step]
        return cls.objects.filter(account__in=accounts).delete()[0]

    @classmethod
    def forget_old(cls) -> None:
        cls.objects.filter(at__lt=timezone.now() - KEPT).delete()


def _wait(failures: "models.QuerySet[LoginAttempt]", limit: Limit) -> int:
    now = timezone.now()
    recent = failures.filter(at__gt=now - limit.within).order_by("-at")
    decisive = recent.values_list("at", flat=True)[limit.failures - 1 : limit.failures].first()
    return int((decisive + limit.within - now).total_seconds()) + 1 if decisive else 0


def _account(username: str, step: Step) -> str:
    return _digest(step, username.casefold())


def _place(address: str) -> str:
    """A household or a server: an IPv6 address by its /64, which one host may use at will."""
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:
        return _digest("address", "")
    if ip.version == 6:
        ip = ip.ipv4_mapped or ipaddress.ip_network((ip, 64), strict=False).network_address
    return _digest("address", str(ip))


def _digest(what: str, text: str) -> str:
    salt = f"potok.login.{what}"
    return salted_hmac(salt, text, secret=settings.SECRET_KEY, algorithm="sha256").hexdigest()
