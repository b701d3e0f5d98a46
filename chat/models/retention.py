"""How long what people wrote is kept: a rule for a group of them, one for all others, and the purge.

Where several rules apply to a person, the one that keeps longest rules: what is gone is gone. What is
under a legal hold stays, whatever a rule says.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

from django.contrib.auth.models import Group
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models import Exists, OuterRef, Q, QuerySet
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from . import removal
from .conversations import Conversation
from .generations import Generation
from .holds import alone, holding
from .messages import Message
from .people import User

if TYPE_CHECKING:
    from datetime import datetime

MAX_DAYS = 36_500
_DAYS = [MinValueValidator(1), MaxValueValidator(MAX_DAYS)]
_NOTHING = Q(pk__in=[])
# Between two purges of the process's own; less than a day, as a day is not met to the second.
DAILY = timedelta(hours=20)


class Retention(models.Model):
    """For the people of a group, or with no group for whoever has no other rule."""

    group = models.OneToOneField(
        Group, models.CASCADE, null=True, blank=True, verbose_name=_("group")
    )
    idle_days = models.PositiveIntegerField(
        _("days after the last activity"), null=True, blank=True, validators=_DAYS
    )
    deleted_days = models.PositiveIntegerField(
        _("days after the owner deleted it"), null=True, blank=True, validators=_DAYS
    )

    class Meta:
        ordering = ["group_id", "id"]
        constraints = [
            models.UniqueConstraint(
                models.Value(1), condition=Q(group=None), name="one_retention_for_all_others"
            )
        ]
        verbose_name = _("retention rule")
        verbose_name_plural = _("retention rules")

    def __str__(self) -> str:
        return self.group.name if self.group else str(_("all others"))


class Counts(NamedTuple):
    """How many conversations and messages are to go, and how many conversations holds keep."""

    idle: int
    deleted: int
    messages: int
    held: int


@dataclass(frozen=True)
class Due:
    """What a rule says is to go: conversations whole, and single messages that were deleted."""

    rule: Retention
    past: QuerySet[Conversation]  # those that are held, too
    messages: QuerySet[Message]

    @property
    def idle(self) -> QuerySet[Conversation]:
        return self.past.filter(deleted_at=None).exclude(holding())

    @property
    def deleted(self) -> QuerySet[Conversation]:
        return self.past.filter(deleted_at__isnull=False).exclude(holding())

    def counts(self) -> Counts:
        """Each table is gone over once."""
        kind = models.Case(
            models.When(holding(), then=models.Value("held")),
            models.When(deleted_at=None, then=models.Value("idle")),
            default=models.Value("deleted"),
        )
        kinds = self.past.order_by().annotate(kind=kind).values_list("kind")
        found = dict(kinds.annotate(n=models.Count("pk")))
        idle, deleted, held = (found.get(name, 0) for name in ("idle", "deleted", "held"))
        return Counts(idle, deleted, self.messages.count(), held)


class Purge(models.Model):
    """That a purge ran, and what went."""

    at = models.DateTimeField(_("when"), default=timezone.now, db_index=True)
    # Otherwise it is the day's.
    is_by_hand = models.BooleanField(default=False)
    by_key = models.UUIDField(null=True)
    conversations = models.BigIntegerField(_("conversations"), default=0)
    messages = models.BigIntegerField(_("messages"), default=0)

    class Meta:
        ordering = ["-id"]
        verbose_name = _("purge")
        verbose_name_plural = _("purges")

    def __str__(self) -> str:
        return f"{self.at:%Y-%m-%d %H:%M}: {self.conversations} + {self.messages}"

    @classmethod
    def begin(cls, by: User | None = None, *, by_hand: bool = False) -> "Purge | None":
        """A purge by hand; else the day's, or None where some process has begun that already."""
        with alone():
            if not by_hand:
                todays = cls.objects.filter(is_by_hand=False, at__gt=timezone.now() - DAILY)
                if todays.exists():
                    return None
            return cls.objects.create(is_by_hand=by_hand, by_key=by.key if by else None)

    def step(self) -> bool:
        """Remove a batch of what is due, in a transaction of its own; False once nothing is left."""
        with alone():
            gone = _purge_batch()
            Purge.objects.filter(pk=self.pk).update(
                conversations=models.F("conversations") + gone["chat.Conversation"],
                messages=models.F("messages") + gone["chat.Message"],
            )
        return bool(gone)

    def run(self) -> "Purge":
        while self.step():
            pass
        self.refresh_from_db()
        return self


def due(now: "datetime | None" = None) -> list[Due]:
    """What each rule says is to go by now; what two of them say is of the first."""
    now = now or timezone.now()
    found, goes = [], _NOTHING
    for rule, idle, deleted in _reach():
        past = Conversation.objects.filter(_past(rule, idle, deleted, now)).exclude(goes)
        goes |= _past(rule, idle, deleted, now)
        found.append((rule, past, _messages(rule, deleted, now)))
    # Of a conversation that goes as a whole the messages go with it.
    whole = Exists(Conversation.objects.filter(goes, pk=OuterRef("conversation")))
    return [Due(rule, past, messages.exclude(whole)) for rule, past, messages in found]


class Kept(NamedTuple):
    """For how many days: after the last activity, after a deletion; None for ever."""

    idle_days: int | None
    deleted_days: int | None


def rule_of(person: User) -> Kept:
    """What rules over this person's."""
    rules = list(Retention.objects.filter(group__in=person.groups.all()))
    rules = rules or list(Retention.objects.filter(group=None))
    return Kept(_longest(rules, "idle_days"), _longest(rules, "deleted_days"))


def _longest(rules: list[Retention], name: str) -> int | None:
    days = [getattr(rule, name) for rule in rules]
    return None if not days or None in days else max(days)


def _reach() -> Iterator[tuple[Retention, QuerySet[User], QuerySet[User]]]:
    """Each rule with whom it rules by their last activity, and by what they deleted."""
    rules = list(Retention.objects.select_related("group"))
    ruled = User.objects.filter(groups__in=[rule.group_id for rule in rules if rule.group_id])
    for rule in rules:
        if rule.group_id is None:
            others = User.objects.exclude(pk__in=ruled.values("pk"))
            yield rule, others, others
        else:
            yield rule, _of_group(rule, rules, "idle_days"), _of_group(rule, rules, "deleted_days")


def _of_group(rule: Retention, rules: list[Retention], name: str) -> QuerySet[User]:
    """The people of a rule's group whom no other group's rule keeps longer."""
    if getattr(rule, name) is None:
        return User.objects.none()
    longer = [
        other.group_id
        for other in rules
        if other.group_id and other.pk != rule.pk and _outlasts(other, rule, name)
    ]
    people = User.objects.filter(groups=rule.group_id)
    return people.exclude(pk__in=User.objects.filter(groups__in=longer).values("pk"))


def _outlasts(other: Retention, rule: Retention, name: str) -> bool:
    """Of two that keep as long, the older rule is the one that counts."""
    days, own = getattr(other, name), getattr(rule, name)
    return days is None or days > own or (days == own and other.pk < rule.pk)


def _past(rule: Retention, idle: Any, deleted: Any, now: "datetime") -> Q:
    conditions = _NOTHING
    if rule.idle_days is not None:
        limit = now - timedelta(days=rule.idle_days)
        # To ask a model anew is activity as well, which moves nothing up in a list.
        asked = Generation.objects.filter(conversation=OuterRef("pk"), queued_at__gte=limit)
        conditions |= Q(_is_of(idle), ~Exists(asked), active_at__lt=limit)
    if rule.deleted_days is not None:
        limit = now - timedelta(days=rule.deleted_days)
        conditions |= Q(_is_of(deleted), deleted_at__lt=limit)
    return conditions


def _is_of(people: QuerySet[User], owner: str = "owner") -> Exists:
    """Asked of each row, or SQLite would go over everything that these people have."""
    return Exists(people.filter(pk=OuterRef(owner)))


def _messages(rule: Retention, people: QuerySet[User], now: "datetime") -> QuerySet[Message]:
    """Deleted ones past their time, whatever becomes of the rest of their conversation."""
    if rule.deleted_days is None:
        return Message.objects.none()
    limit = now - timedelta(days=rule.deleted_days)
    past = Message.objects.filter(
        _is_of(people, "conversation__owner"), purged_at=None, deleted_at__lt=limit
    )
    return past.exclude(holding("conversation", "conversation__owner"))


def _purge_batch() -> Counter[str]:
    for each in due():
        for conversations in (each.deleted, each.idle):
            pks = conversations.order_by("pk").values_list("pk", flat=True)[: removal.BATCH]
            if gone := removal.remove(pks):
                return gone
        if blanked := removal.blank(each.messages.order_by("pk")):
            return Counter({"chat.Message": blanked})
    return Counter()
