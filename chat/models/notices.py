"""Notices: that of a budget's limit half, most or all is used, to whoever wants to know.

One for each address, percentage and period, made in the transaction that crossed it; sending it is
another matter, which no reply waits for (chat/replies/courier.py).
"""

from datetime import timedelta

from django.conf import settings
from django.db import models, transaction
from django.db.models import F, Q
from django.utils import timezone

from . import bells
from .allowances import Allowance
from .budgets import OverBudget

WARNS_AT = (50, 80, 100)
# How long after a try that failed the next one is due; there are no more than these.
WAITS = (timedelta(minutes=1), timedelta(minutes=10), timedelta(hours=1), timedelta(hours=6))
AT_ONCE = 20


class Notice(models.Model):
    allowance = models.ForeignKey(Allowance, models.CASCADE, related_name="notices")
    percent = models.PositiveSmallIntegerField()
    # An e-mail address, or a webhook's.
    address = models.CharField(max_length=500)
    created_at = models.DateTimeField(default=timezone.now)
    attempts = models.PositiveSmallIntegerField(default=0)
    # NULL: it was sent, or given up.
    due_at = models.DateTimeField(null=True, default=timezone.now)
    sent_at = models.DateTimeField(null=True)
    failure = models.CharField(max_length=200, blank=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["allowance", "percent", "address"], name="notice_once")
        ]
        indexes = [
            models.Index(fields=["due_at"], name="notice_due", condition=Q(due_at__isnull=False))
        ]

    def __str__(self) -> str:
        return f"{self.allowance_id} {self.percent} {self.address}"

    @property
    def is_webhook(self) -> bool:
        return "://" in self.address

    @classmethod
    def follow(cls, allowance: Allowance, least: int = 0) -> None:
        """Warn of the highest percentage that is reached and wasn't told, `least` taken as reached.

        Of those that were passed on the way nobody is told.
        """
        reached = max(allowance.percent, least)
        percent = max((each for each in WARNS_AT if each <= reached), default=0)
        if percent <= allowance.warned:
            return
        with transaction.atomic():
            untold = Allowance.objects.filter(pk=allowance.pk, warned__lt=percent)
            if not untold.update(warned=percent):
                return
            addresses = _addresses(allowance)
            cls.objects.bulk_create(
                cls(allowance=allowance, percent=percent, address=each) for each in addresses
            )
            if addresses:
                bells.ring(bells.NOTICES)

    @classmethod
    def refused(cls, error: OverBudget) -> None:
        """Warn that a limit is reached where that, and not what runs at the moment, refuses a call."""
        if error.refusal.reason == "limit" and not error.refusal.held and error.allowance.pk:
            cls.follow(error.allowance, least=100)

    @classmethod
    def take_due(cls) -> "list[Notice]":
        """Those to be sent now; until they are, or this try counts as failed, nobody else takes them."""
        now = timezone.now()
        taken = []
        for notice in cls.objects.filter(due_at__lte=now).order_by("due_at")[:AT_ONCE]:
            last = notice.attempts >= len(WAITS) - 1
            again_at = None if last else now + WAITS[notice.attempts]
            mine = cls.objects.filter(pk=notice.pk, due_at=notice.due_at)
            if mine.update(attempts=F("attempts") + 1, due_at=again_at):
                taken.append(notice.pk)
        about = ("allowance__budget__user", "allowance__budget__group", "allowance__user")
        return list(cls.objects.filter(pk__in=taken).select_related(*about))

    def note_sent(self) -> None:
        Notice.objects.filter(pk=self.pk).update(due_at=None, sent_at=timezone.now(), failure="")

    def note_failure(self, failure: str) -> None:
        Notice.objects.filter(pk=self.pk).update(failure=failure[:200])


def _addresses(allowance: Allowance) -> list[str]:
    """Each once: of the budget, and of the person whom it bounds; mail only where it can be sent."""
    budget = allowance.budget
    found = [budget.webhook]
    if settings.SENDS_MAIL:
        person = allowance.user or budget.user
        found += [each.strip() for each in budget.emails.split(",")]
        found.append(person.email if person else "")
    return list(dict.fromkeys(each for each in found if each))
