"""The second step of a login by password: a code of one's own device, or one that was written down.

Codes are those of RFC 6238 with SHA-1, six digits and 30 seconds: what every app on a telephone knows.
"""

import base64
import hashlib
import secrets as random
import time
from typing import Any
from urllib.parse import quote, urlencode

from cryptography.hazmat.primitives.hashes import SHA1
from cryptography.hazmat.primitives.twofactor.hotp import HOTP
from django.db import models, transaction
from django.utils import timezone
from django.utils.crypto import constant_time_compare

from . import secrets
from .people import User

STEP_S = 30
DRIFT = 1  # a device's clock may be so many steps off
DIGITS = 6
SECRET_BYTES = 20
RECOVERY_CODES = 10
RECOVERY_BYTES = 10


class SecondFactor(models.Model):
    user = models.OneToOneField(User, models.CASCADE, related_name="+")
    sealed_secret = models.TextField()
    # NULL until a first code has shown that the device knows the secret.
    confirmed_at = models.DateTimeField(null=True)
    # The newest step whose code was taken; neither it nor an older one is taken again.
    last_step = models.BigIntegerField(default=0)

    def __str__(self) -> str:
        return f"of user {self.user_id}"

    @classmethod
    def of(cls, user: User) -> "SecondFactor | None":
        """What this person's login takes beside the password."""
        return cls.objects.filter(user=user, confirmed_at__isnull=False).first()

    @classmethod
    @transaction.atomic
    def begin(cls, user: User) -> "SecondFactor":
        """A new secret, good for nothing until it is confirmed; the confirmed one, if there is one."""
        cls.objects.filter(user=user, confirmed_at=None).delete()
        secret = random.token_bytes(SECRET_BYTES).hex()
        drafted, _is_new = cls.objects.get_or_create(
            user=user, defaults={"sealed_secret": secrets.seal(secret)}
        )
        return drafted

    @classmethod
    def reseal(cls) -> tuple[int, list[str]]:
        """Seal every secret under the newest one: how many, and whose can't be opened."""
        return secrets.reseal_column(cls.objects.all(), "sealed_secret", "user__username")

    @transaction.atomic
    def confirm(self, code: str) -> list[str]:
        """Ask for it from now on: the recovery codes, or none where the code is wrong."""
        if self.confirmed_at or not self.take(code):
            return []
        self.confirmed_at = timezone.now()
        self.save(update_fields=["confirmed_at"])
        return self.renew_recovery()

    def take(self, code: str) -> bool:
        """Whether it is one of the device's codes of now; each is taken once. Raises Unsealable."""
        secret, now = self._secret, int(time.time()) // STEP_S
        for step in range(now - DRIFT, now + DRIFT + 1):
            if constant_time_compare(code_at(secret, step), code):
                fresh = type(self).objects.filter(pk=self.pk, last_step__lt=step)
                return bool(fresh.update(last_step=step))
        return False

    # --- what the device is told ----------------------------------------------------------------

    @property
    def text(self) -> str:
        """The secret as an app takes it where there is no camera."""
        return base64.b32encode(self._secret).decode()

    def address(self, issuer: str) -> str:
        """What the picture says: otpauth://totp/... of Google's key URI format."""
        label = quote(f"{issuer}:{self.user.username}")
        return f"otpauth://totp/{label}?{urlencode({'secret': self.text, 'issuer': issuer})}"

    @property
    def _secret(self) -> bytes:
        return bytes.fromhex(secrets.unseal(self.sealed_secret))

    # --- recovery codes -------------------------------------------------------------------------

    @transaction.atomic
    def renew_recovery(self) -> list[str]:
        """New recovery codes in place of the old: this is the only time that anybody sees them."""
        codes = [
            base64.b32encode(random.token_bytes(RECOVERY_BYTES)).decode().lower()
            for _ in range(RECOVERY_CODES)
        ]
        RecoveryCode.objects.filter(user=self.user_id).delete()
        RecoveryCode.objects.bulk_create(
            [RecoveryCode(user_id=self.user_id, digest=_digest(code)) for code in codes]
        )
        return ["-".join(code[i : i + 4] for i in range(0, len(code), 4)) for code in codes]

    def take_recovery(self, code: str) -> bool:
        """Whether it is one of those; each is taken once."""
        left = RecoveryCode.objects.filter(user=self.user_id, used_at=None)
        return bool(left.filter(digest=_digest(code)).update(used_at=timezone.now()))

    @property
    def recovery_left(self) -> int:
        return RecoveryCode.objects.filter(user=self.user_id, used_at=None).count()

    def delete(self, *args: Any, **kwargs: Any) -> Any:
        with transaction.atomic():
            RecoveryCode.objects.filter(user=self.user_id).delete()
            return super().delete(*args, **kwargs)


class RecoveryCode(models.Model):
    """80 random bits by their digest alone: too many to be guessed, so a plain one is enough."""

    user = models.ForeignKey(User, models.CASCADE, related_name="+")
    digest = models.CharField(max_length=64)
    used_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["user", "digest"], name="recovery_code_once")
        ]

    def __str__(self) -> str:
        return "used" if self.used_at else "unused"


def code_at(secret: bytes, step: int) -> str:
    # Who has a device of theirs knows secrets of this length only.
    return HOTP(secret, DIGITS, SHA1()).generate(step).decode()  # noqa: S303


def bare(code: str) -> str:
    """A code without what people put between its groups, in small letters."""
    return "".join(letter for letter in code.casefold() if letter.isalnum())


def is_recovery(code: str) -> bool:
    """By its looks: six digits are a device's, anything longer was written down."""
    return len(code) > DIGITS


def _digest(code: str) -> str:
    return hashlib.sha256(code.encode()).hexdigest()
