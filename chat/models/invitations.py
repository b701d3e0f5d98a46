"""Who may make an account: nobody, whoever is invited, anybody; as the owner has set it."""

import hashlib
import secrets as random
from collections.abc import Callable, Iterable
from datetime import timedelta
from typing import Any

from django.contrib.auth.models import Group
from django.db import models, transaction
from django.utils import timezone
from django.utils.text import capfirst
from django.utils.translation import gettext_lazy as _

from .people import User

TOKEN_BYTES = 32
MAX_DAYS = 90


class InvitationGone(Exception):
    """It was used, taken back or too old by the time the account was to be made."""


class AccountPolicy(models.Model):
    """The one row of what the owner has decided about accounts."""

    class SignUp(models.TextChoices):
        CLOSED = "closed", _("closed: accounts are made here")
        INVITATION = "invitation", _("by invitation")
        OPEN = "open", _("open: anybody who finds this address")

    sign_up = models.CharField(
        _("sign-up"), max_length=10, choices=SignUp, default=SignUp.CLOSED, db_default="closed"
    )
    default_group = models.ForeignKey(
        Group,
        models.SET_NULL,
        null=True,
        blank=True,
        related_name="+",
        verbose_name=_("group of those who sign up"),
    )
    staff_takes_two_steps = models.BooleanField(
        _("the administration takes a two-step login"),
        default=False,
        db_default=False,
        help_text=_("Whoever logs in by password alone can chat, but not open these pages."),
    )

    class Meta:
        verbose_name = _("accounts")
        verbose_name_plural = _("accounts")

    def __str__(self) -> str:
        return str(capfirst(self._meta.verbose_name_plural))

    @classmethod
    def current(cls) -> "AccountPolicy":
        """As it stands; with nothing decided yet, closed."""
        return cls.objects.select_related("default_group").filter(pk=1).first() or cls(pk=1)

    @property
    def is_open(self) -> bool:
        return self.sign_up == self.SignUp.OPEN

    @property
    def takes_invitations(self) -> bool:
        return self.sign_up != self.SignUp.CLOSED

    @transaction.atomic
    def admit(self, create: Callable[[], User]) -> User:
        """An account of somebody who came by himself."""
        user = create()
        if self.default_group and not self.default_group.permissions.exists():
            user.groups.add(self.default_group)
        return user


class Invitation(models.Model):
    """A link that makes one account. Its token is known to whoever has the link, and to nobody here."""

    digest = models.CharField(max_length=64, unique=True, editable=False)
    note = models.CharField(
        _("for whom"), max_length=200, blank=True, help_text=_("A name for yourself.")
    )
    groups = models.ManyToManyField(
        Group, blank=True, related_name="+", verbose_name=_("roles and groups")
    )
    made_by = models.ForeignKey(
        User, models.SET_NULL, null=True, related_name="+", verbose_name=_("invited by")
    )
    made_at = models.DateTimeField(_("invited"), default=timezone.now)
    expires_at = models.DateTimeField(_("good until"))
    revoked_at = models.DateTimeField(_("taken back"), null=True)
    used_at = models.DateTimeField(_("used"), null=True)
    used_by = models.ForeignKey(
        User, models.SET_NULL, null=True, related_name="+", verbose_name=_("account")
    )

    class Meta:
        ordering = ["-pk"]
        verbose_name = _("invitation")
        verbose_name_plural = _("invitations")

    def __str__(self) -> str:
        # Not for whom it was: this stays in the admin's history.
        return f"#{self.pk}"

    @classmethod
    @transaction.atomic
    def make(
        cls, made_by: User, groups: Iterable[Group] = (), days: int = 7, note: str = ""
    ) -> tuple["Invitation", str]:
        """With its token, which nothing tells again."""
        token = random.token_urlsafe(TOKEN_BYTES)
        expires_at = timezone.now() + timedelta(days=days)
        invitation = cls.objects.create(
            digest=_digest(token), note=note, made_by=made_by, expires_at=expires_at
        )
        invitation.groups.set(groups)
        return invitation, token

    @classmethod
    def open_with(cls, token: str) -> "Invitation | None":
        """The invitation of this link, while it may be used."""
        found = cls._usable().filter(digest=_digest(token)).select_related("made_by").first()
        return found if found and found._may_still_be_given else None

    @transaction.atomic
    def accept(self, create: Callable[[], User]) -> User:
        """Make the account, once; raises InvitationGone."""
        if not self._usable().filter(pk=self.pk).update(used_at=timezone.now()):
            raise InvitationGone
        user = create()
        user.groups.set(self.groups.all())
        type(self).objects.filter(pk=self.pk).update(used_by=user)
        return user

    @classmethod
    def revoke(cls, invitations: "models.QuerySet[Any]") -> int:
        unused = invitations.filter(used_at=None, revoked_at=None)
        return unused.update(revoked_at=timezone.now())

    @property
    def state(self) -> str:
        if self.used_at:
            return "used"
        if self.revoked_at:
            return "revoked"
        return "open" if self.expires_at > timezone.now() else "expired"

    @classmethod
    def _usable(cls) -> "models.QuerySet[Invitation]":
        return cls.objects.filter(used_at=None, revoked_at=None, expires_at__gt=timezone.now())

    @property
    def _may_still_be_given(self) -> bool:
        """Whoever invited could still do so: a right that they lost is not handed on."""
        by = self.made_by
        if by is None or not by.is_active or not by.has_perm("chat.add_invitation"):
            return False
        beyond = self.groups.exclude(pk__in=by.grantable_groups())
        return not beyond.exists() and not self.groups.filter(name="owner").exists()


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
