"""Passkeys: the public halves of keys that people's devices keep."""

from typing import Any

from django.db import models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from .people import User

MAX_PASSKEYS = 20
# WebAuthn allows 1023 bytes, which base64url makes longer by a third.
MAX_ID_CHARS = 1364


class Passkey(models.Model):
    user = models.ForeignKey(User, models.CASCADE, related_name="passkeys")
    name = models.CharField(_("name"), max_length=100)
    # base64url, as browsers say it.
    credential_id = models.CharField(max_length=MAX_ID_CHARS, unique=True)
    # Attested credential data as the device gave it, with the public key.
    credential = models.BinaryField()
    # The host for which it was made; under another name a device doesn't offer it.
    rp_id = models.CharField(max_length=253)
    sign_count = models.BigIntegerField(default=0)
    made_at = models.DateTimeField(default=timezone.now)
    used_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ["pk"]

    def __str__(self) -> str:
        return self.name

    def note_use(self, sign_count: int) -> bool:
        """Whether the device's counter went up, as that of a copied key would not. 0 counts nothing."""
        rows = type(self).objects.filter(pk=self.pk)
        if sign_count or self.sign_count:
            rows = rows.filter(sign_count__lt=sign_count)
        return bool(rows.update(sign_count=sign_count, used_at=timezone.now()))

    def delete(self, *args: Any, **kwargs: Any) -> Any:
        """Raises LastWayIn for the only thing that somebody can log in with."""
        user = self.user
        others = user.passkeys.exclude(pk=self.pk).exists() or user.identities.exists()
        if not (user.has_usable_password() or others):
            raise LastWayIn
        return super().delete(*args, **kwargs)


class LastWayIn(Exception):
    """Without it nobody could log in to this account any more."""
