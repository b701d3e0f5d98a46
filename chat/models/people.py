"""Who uses this installation, and in which role."""

import zoneinfo
from collections.abc import Iterator
from functools import cache
from typing import Any
from uuid import uuid4

from django.conf import settings
from django.contrib.auth.models import AbstractUser, Group, Permission
from django.db import connection, models, transaction
from django.utils.translation import gettext_lazy as _

from .gateways import MAX_MODEL_NAME
from .parameters import NONE, Asked

ROLES = ("owner", "administrator", "reviewer", "analyst", "member")


class OwnerExists(Exception):
    """Somebody else created the first owner in the meantime."""


@cache
def time_zones() -> frozenset[str]:
    """The names that a reader may choose from, such as Europe/Moscow."""
    return frozenset(zoneinfo.available_timezones())


class User(AbstractUser):
    class Theme(models.TextChoices):
        SYSTEM = "", _("As the device")
        LIGHT = "light", _("Light")
        DARK = "dark", _("Dark")

    # The name under which calls remember a person; outlives the row, says nothing about it.
    key = models.UUIDField(default=uuid4, unique=True, editable=False)
    # Rises with each change that the sidebar shows.
    version = models.BigIntegerField(default=0, editable=False)
    # As they like to read and to write; an empty one is left to the device or the installation.
    theme = models.CharField(
        _("theme"), max_length=5, blank=True, choices=Theme, default="", db_default=""
    )
    language = models.CharField(
        _("language"),
        max_length=10,
        blank=True,
        choices=settings.LANGUAGES,
        default="",
        db_default="",
    )
    time_zone = models.CharField(
        _("time zone"), max_length=64, blank=True, default="", db_default=""
    )
    default_model = models.CharField(
        _("model for new chats"), max_length=MAX_MODEL_NAME, blank=True, default="", db_default=""
    )
    # Part of every session of theirs: raising it ends them all.
    session_epoch = models.PositiveIntegerField(default=0, db_default=0, editable=False)
    # How this person writes: swapped, Enter breaks the line and Shift+Enter sends.
    enter_sends = models.BooleanField(_("Enter sends"), default=True, db_default=True)
    # What a new conversation of theirs begins with.
    system_prompt = models.TextField(_("system prompt"), blank=True, default="", db_default="")
    parameters = models.JSONField(_("parameters"), default=dict, blank=True, db_default=NONE)

    class Meta(AbstractUser.Meta):
        permissions = [
            ("erase_user", "Can erase a person"),
            ("export_user", "Can take away all of a person's data"),
        ]
        verbose_name = _("user")
        verbose_name_plural = _("users")

    def save(self, *args: Any, **kwargs: Any) -> None:
        """Whoever is switched off has nothing running from then on."""
        from .generations import Generation

        with transaction.atomic():
            super().save(*args, **kwargs)
            if not self.is_active:
                Generation.stop_all(Generation.objects.filter(user=self))

    def end_sessions(self) -> None:
        """Log them out of every browser; their sockets close within seconds."""
        self.session_epoch = models.F("session_epoch") + 1
        self.save(update_fields=["session_epoch"])
        self.refresh_from_db(fields=["session_epoch"])

    def get_session_auth_hash(self) -> str:
        return self._of_epoch(super().get_session_auth_hash())

    def get_session_auth_fallback_hash(self) -> Iterator[str]:
        yield from map(self._of_epoch, super().get_session_auth_fallback_hash())

    def _of_epoch(self, auth_hash: str) -> str:
        return f"{auth_hash}.{self.session_epoch}" if self.session_epoch else auth_hash

    @property
    def is_owner(self) -> bool:
        return self.is_superuser

    def grantable_groups(self) -> "models.QuerySet[Group]":
        """The groups that hold no right which this person lacks."""
        if self.is_superuser:
            return Group.objects.all()
        lacking = Permission.objects.exclude(group__user=self)
        return Group.objects.exclude(name="owner").exclude(permissions__in=lacking)

    @property
    def group_name(self) -> str:
        """The one group that their calls count for: the first that is no role, else their role.

        One, so that sums by group add up; of several the one that was made first.
        """
        is_role = models.Case(models.When(name__in=ROLES, then=1), default=0)
        names = self.groups.order_by(is_role, "pk").values_list("name", flat=True)
        return names.first() or ("owner" if self.is_owner else "")

    @property
    def asked(self) -> Asked:
        """What a new conversation asks for beside its messages."""
        return Asked(self.system_prompt, self.parameters)

    def ask_for(self, asked: Asked) -> None:
        self.system_prompt, self.parameters = asked
        self.save(update_fields=["system_prompt", "parameters"])

    @classmethod
    def create_owner(cls, username: str, password: str, email: str = "") -> "User":
        """The first user, with every right; raises OwnerExists where there is a user already."""
        with transaction.atomic():
            # SQLite's IMMEDIATE transaction shuts out the second of two racers; PostgreSQL needs
            # a lock that covers the row which isn't there yet.
            if connection.vendor == "postgresql":
                with connection.cursor() as cursor:
                    cursor.execute("LOCK TABLE chat_user IN SHARE ROW EXCLUSIVE MODE")
            if cls.objects.exists():
                raise OwnerExists
            owner = cls.objects.create_superuser(username, email, password)
            owner.groups.set(Group.objects.filter(name="owner"))
            return owner
