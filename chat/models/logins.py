"""Tries to log in: how often a password may be guessed, without shutting its owner out.

A guesser at one address is slowed down there. One who changes addresses is stopped for the account,
except at addresses where its owner has come in before, so that nobody can lock somebody else out of
the places where he works.
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
    def wait_s(cls, username: str, address: str) -> int:
        """Seconds until this account may be tried from there again; 0 is now."""
        account, place = _account(username), _place(address)
        rows = cls.objects.filter(succeeded=False)
        waits = [
            _wait(rows.filter(account=account, address=place), HERE),
            _wait(rows.filter(address=place), ADDRESS),
        ]
        if not cls.objects.filter(account=account, address=place, succeeded=True).exists():
            waits.append(_wait(rows.filter(account=account), ACCOUNT))
        return max(waits)

    @classmethod
    def note(cls, username: str, address: str, *, succeeded: bool) -> None:
        account, place = _account(username), _place(address)
        if succeeded:
            cls.objects.filter(account=account, address=place).delete()
        cls.objects.create(account=account, address=place, succeeded=succeeded)

    @classmethod
    def forget(cls, username: str) -> int:
        """All tries at this account; how many those were."""
        return cls.objects.filter(account=_account(username)).delete()[0]

    @classmethod
    def forget_old(cls) -> None:
        cls.objects.filter(at__lt=timezone.now() - KEPT).delete()


def _wait(failures: "models.QuerySet[LoginAttempt]", limit: Limit) -> int:
    now = timezone.now()
    recent = failures.filter(at__gt=now - limit.within).order_by("-at")
    decisive = recent.values_list("at", flat=True)[limit.failures - 1 : limit.failures].first()
    return int((decisive + limit.within - now).total_seconds()) + 1 if decisive else 0


def _account(username: str) -> str:
    return _digest("account", username.casefold())


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
