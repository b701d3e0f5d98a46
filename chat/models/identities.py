"""Single sign-on: the providers whose word is taken, and who is whom there."""

import re
import unicodedata
from typing import Any

from django.conf import settings
from django.db import models, transaction
from django.utils import timezone
from django.utils.functional import cached_property
from django.utils.translation import gettext_lazy as _

from . import secrets
from .invitations import AccountPolicy, Invitation
from .people import User

ENVIRONMENT_SLUG = "sso"


class NotLetIn(Exception):
    """The provider knows them; this installation doesn't, or not this kind."""


class SwitchedOff(NotLetIn):
    """They had an account here, which may not be used."""


class ConnectedOtherwise(NotLetIn):
    """It opens another account here than the one that it was to be connected to."""


class IdentityProvider(models.Model):
    slug = models.SlugField(_("slug"), unique=True)
    name = models.CharField(_("name on the button"), max_length=100, help_text=_("Log in with ..."))
    issuer = models.CharField(
        _("issuer"),
        max_length=500,
        help_text=_("The address before /.well-known/openid-configuration, to the letter."),
    )
    client_id = models.CharField(_("client id"), max_length=500)
    sealed_secret = models.TextField(blank=True, editable=False)
    scope = models.CharField(_("scope"), max_length=200, default="openid profile email")
    domains = models.CharField(
        _("e-mail domains"),
        max_length=1000,
        blank=True,
        help_text=_("Separated by commas; empty lets any in. Only confirmed addresses count."),
    )
    groups_claim = models.CharField(
        _("claim of groups"), max_length=100, blank=True, help_text=_("Mostly groups or roles.")
    )
    groups = models.CharField(
        _("groups let in"),
        max_length=1000,
        blank=True,
        help_text=_("Separated by commas; empty lets any in."),
    )
    makes_accounts = models.BooleanField(
        _("makes accounts"),
        default=False,
        help_text=_("Off: only those come in who are invited, or connect it in their settings."),
    )
    is_private_allowed = models.BooleanField(
        _("may lie in a private network"),
        default=False,
        help_text=_("Allow an address of this machine or of the local network, and plain http."),
    )
    enabled = models.BooleanField(_("enabled"), default=True)
    is_from_environment = models.BooleanField(default=False, editable=False)

    class Meta:
        ordering = ["pk"]
        verbose_name = _("single sign-on")
        verbose_name_plural = _("single sign-on")

    def __str__(self) -> str:
        return self.name

    @property
    def secret(self) -> str:
        """Raises Unsealable."""
        if self.is_from_environment:
            return str((settings.OIDC or {}).get("secret", ""))
        return secrets.unseal(self.sealed_secret) if self.sealed_secret else ""

    @secret.setter
    def secret(self, secret: str) -> None:
        self.sealed_secret = secrets.seal(secret) if secret else ""

    @classmethod
    def reseal(cls) -> tuple[int, list[str]]:
        """Seal every secret under the newest one: how many, and whose can't be opened."""
        return secrets.reseal_column(cls.objects.all(), "sealed_secret", "slug")

    @classmethod
    @transaction.atomic
    def sync_environment(cls) -> None:
        """Make the environment's provider a row; one that left the environment is switched off."""
        if settings.OIDC is None:
            cls.objects.filter(is_from_environment=True).update(
                enabled=False, is_from_environment=False
            )
            return
        facts = {name: value for name, value in settings.OIDC.items() if name != "secret"}
        facts |= {"enabled": True, "is_from_environment": True, "is_private_allowed": True}
        cls.objects.update_or_create(slug=ENVIRONMENT_SLUG, defaults=facts)

    # --- who comes in ---------------------------------------------------------------------------

    def lets_in(self, claims: dict[str, Any]) -> bool:
        """Whether their domain and their groups are among those allowed."""
        if domains := self.domains.casefold().replace(",", " ").split():
            email = confirmed_email(claims)
            if email.rpartition("@")[2].casefold() not in domains:
                return False
        if wanted := {name.strip() for name in self.groups.split(",") if name.strip()}:
            told = claims.get(self.groups_claim or "groups")
            theirs = [told] if isinstance(told, str) else told if isinstance(told, list) else []
            return bool(wanted.intersection(map(str, theirs)))
        return True

    @transaction.atomic
    def admit(self, claims: dict[str, Any], invitation: Invitation | None = None) -> User:
        """Whose account it is, made now if it may be; raises NotLetIn.

        They are known by issuer and subject alone: an address may be anybody's tomorrow.
        """
        if not self.lets_in(claims):
            raise NotLetIn("neither domain nor group is let in")
        known = Identity.objects.filter(issuer=self.issuer, subject=claims["sub"])
        identity = known.select_related("user").first()
        if identity is not None:
            if not identity.user.is_active:
                raise SwitchedOff("the account is switched off")
            known.update(used_at=timezone.now())
            return identity.user
        if invitation is not None:
            user = invitation.accept(lambda: self._create(claims))
        elif self.makes_accounts:
            user = AccountPolicy.current().admit(lambda: self._create(claims))
        else:
            raise NotLetIn("there is no account, and none is made")
        Identity.objects.create(issuer=self.issuer, subject=claims["sub"], user=user)
        return user

    def connect(self, claims: dict[str, Any], user: User) -> None:
        """From now on they may come in by it; raises NotLetIn."""
        if not self.lets_in(claims):
            raise NotLetIn("neither domain nor group is let in")
        identity, _is_new = Identity.objects.get_or_create(
            issuer=self.issuer, subject=claims["sub"], defaults={"user": user}
        )
        if identity.user_id != user.pk:
            raise ConnectedOtherwise("it is connected to another account")

    def _create(self, claims: dict[str, Any]) -> User:
        user = User(username=_free_name(claims), email=confirmed_email(claims))
        user.set_unusable_password()
        user.save()
        return user


class Identity(models.Model):
    """Somebody's account elsewhere, by which they come in here."""

    user = models.ForeignKey(User, models.CASCADE, related_name="identities")
    issuer = models.CharField(max_length=500)
    subject = models.CharField(max_length=255)
    made_at = models.DateTimeField(default=timezone.now)
    used_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["issuer", "subject"], name="identity_once")]

    def __str__(self) -> str:
        return f"{self.subject} at {self.issuer}"

    @cached_property
    def provider_name(self) -> str:
        """As on its button; the issuer once there is none."""
        row = IdentityProvider.objects.filter(issuer=self.issuer).first()
        return row.name if row else self.issuer


def confirmed_email(claims: dict[str, Any]) -> str:
    """Only what the provider says it has confirmed; '' else."""
    email = claims.get("email")
    if claims.get("email_verified") is not True or not isinstance(email, str):
        return ""
    return email if len(email) <= 254 and re.fullmatch(r"[^@\s]+@[^@\s]+", email) else ""


def _free_name(claims: dict[str, Any]) -> str:
    """What they are called there, with a number behind it where that is taken here."""
    said = [claims.get("preferred_username"), confirmed_email(claims), claims.get("name")]
    wanted = next((name for name in said if isinstance(name, str) and name), "")
    wanted = unicodedata.normalize("NFKC", wanted).partition("@")[0]
    base = re.sub(r"[^\w.+-]+", ".", wanted).strip(".")[:100] or "user"
    taken = {
        name.casefold()
        for name in User.objects.filter(username__istartswith=base).values_list(
            "username", flat=True
        )
    }
    number, name = 1, base
    while name.casefold() in taken:
        number += 1
        name = f"{base}{number}"
    return name
