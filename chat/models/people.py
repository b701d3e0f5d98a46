"""Who uses this installation, and in which role."""

from typing import Any
from uuid import uuid4

from django.contrib.auth.models import AbstractUser, Group
from django.db import connection, models, transaction
from django.utils.translation import gettext_lazy as _

ROLES = ("owner", "administrator", "reviewer", "analyst", "member")


class OwnerExists(Exception):
    """Somebody else created the first owner in the meantime."""


class User(AbstractUser):
    # The name under which calls remember a person; outlives the row, says nothing about it.
    key = models.UUIDField(default=uuid4, unique=True, editable=False)
    # Rises with each change that the sidebar shows.
    version = models.BigIntegerField(default=0, editable=False)

    class Meta(AbstractUser.Meta):  # type: ignore[name-defined]
        verbose_name = _("user")
        verbose_name_plural = _("users")

    def save(self, *args: Any, **kwargs: Any) -> None:
        """Whoever is switched off has nothing running from then on."""
        from .generations import Generation

        with transaction.atomic():
            super().save(*args, **kwargs)
            if not self.is_active:
                Generation.stop_all(Generation.objects.filter(user=self))

    @property
    def is_owner(self) -> bool:
        return self.is_superuser

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
