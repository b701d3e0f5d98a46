"""Legal holds: what a person or a conversation holds stays, whatever its owner or a rule would have.

While one stands, nothing of it is deleted by its owner, purged by a rule or erased. A hold that was
lifted stays as a row, so that it can be told who placed it and why.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.db import connection, models, transaction
from django.db.models import Exists, OuterRef, Q
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from .conversations import Conversation

if TYPE_CHECKING:
    from .people import User

MAX_WHY_CHARS = 200
_LOCK = 0x706F746F6B01  # of PostgreSQL's advisory ones


@contextmanager
def alone() -> Iterator[None]:
    """A transaction beside which nobody places a hold or removes what one may be placed on."""
    with transaction.atomic():
        if connection.vendor == "postgresql":
            with connection.cursor() as cursor:
                cursor.execute("SELECT pg_advisory_xact_lock(%s)", [_LOCK])
        yield


class HoldQuerySet(models.QuerySet["Hold"]):
    def standing(self) -> "HoldQuerySet":
        return self.filter(lifted_at=None)


class Hold(models.Model):
    """Of a person with all they have, or of one conversation."""

    person = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        models.CASCADE,
        null=True,
        related_name="holds",
        verbose_name=_("person"),
    )
    conversation = models.ForeignKey(
        Conversation,
        models.CASCADE,
        null=True,
        related_name="holds",
        verbose_name=_("conversation"),
    )
    why = models.CharField(_("why"), max_length=MAX_WHY_CHARS)
    placed_at = models.DateTimeField(_("placed"), default=timezone.now)
    placed_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        models.SET_NULL,
        null=True,
        related_name="+",
        verbose_name=_("placed by"),
    )
    lifted_at = models.DateTimeField(_("lifted"), null=True)
    lifted_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        models.SET_NULL,
        null=True,
        related_name="+",
        verbose_name=_("lifted by"),
    )

    objects = HoldQuerySet.as_manager()

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.CheckConstraint(
                condition=Q(person=None) ^ Q(conversation=None), name="hold_of_one_thing"
            )
        ]
        verbose_name = _("legal hold")
        verbose_name_plural = _("legal holds")

    def __str__(self) -> str:
        return self.why

    @classmethod
    def place(cls, why: str, by: "User | None", **on: Any) -> "Hold":
        """On a `person` or on a `conversation`, which must be there still."""
        with alone():
            hold = cls.objects.create(why=why[:MAX_WHY_CHARS], placed_by=by, **on)
            for row in on.values():
                row.refresh_from_db()
            return hold

    def lift(self, by: "User") -> None:
        standing = Hold.objects.standing().filter(pk=self.pk)
        standing.update(lifted_at=timezone.now(), lifted_by=by)
        self.refresh_from_db()


def is_held(conversation: Conversation) -> bool:
    """Whether it, or its owner, is under a hold."""
    on = Q(conversation=conversation.pk) | Q(person=conversation.owner_id)
    return Hold.objects.standing().filter(on).exists()


def holding(conversation: str = "pk", owner: str = "owner") -> Exists:
    """For a query: a hold on the conversation or its owner, whose keys stand in these columns."""
    on = Q(conversation=OuterRef(conversation)) | Q(person=OuterRef(owner))
    return Exists(Hold.objects.standing().filter(on))
