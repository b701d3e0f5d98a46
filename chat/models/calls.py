"""Calls: a row for each request to a gateway, what it used and what that cost."""

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.db import models, transaction
from django.db.models import Q
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from .budgets import Weight
from .charges import Charge
from .conversations import Conversation
from .day_tallies import DayTally
from .gateways import MAX_MODEL_NAME, Gateway
from .messages import Message
from .money import NANO
from .pictures import Picture
from .prices import Price, bill
from .tallies import Tally

if TYPE_CHECKING:
    from .generations import Generation

Weigh = Callable[[], Weight]


@dataclass(frozen=True)
class CallEnd:
    """How one request ended, and what the gateway said it used; None where it said nothing."""

    call: int
    http_status: int | None = None
    request_id: str = ""
    finish_reason: str = ""
    error_kind: str = ""
    error_message: str = ""
    first_delta_at: datetime | None = None
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    total_tokens: int | None = None
    cached_tokens: int | None = None
    reasoning_tokens: int | None = None
    usage_raw: str = ""
    confidence: str = "unknown"
    cost_nano: int | None = None
    currency: str = ""
    cost_confidence: str = "unknown"
    links: tuple[dict[str, str], ...] = ()  # {"url", "title"} of what the reply names
    images: tuple[str, ...] = ()  # data: URLs


# The fields of CallEnd that say what a call used and cost.
USAGE = (
    "prompt_tokens",
    "completion_tokens",
    "total_tokens",
    "cached_tokens",
    "reasoning_tokens",
    "usage_raw",
    "confidence",
    "cost_nano",
    "currency",
    "cost_confidence",
)


class Confidence(models.TextChoices):
    EXACT = "exact", _("exact")
    ESTIMATED = "estimated", _("estimated")
    UNKNOWN = "unknown", _("unknown")


class Call(models.Model):
    """One HTTP request to a gateway. Money is read from here only, and outlives what it was for."""

    class Purpose(models.TextChoices):
        REPLY = "reply", _("reply")
        TITLE = "title", _("title")
        CHECK = "check", _("check")

    generation = models.ForeignKey("Generation", models.SET_NULL, null=True, related_name="calls")
    message = models.ForeignKey(Message, models.SET_NULL, null=True, related_name="calls")
    # Whose title it was asked for; a reply's calls are found by their message.
    conversation = models.ForeignKey(
        Conversation, models.SET_NULL, null=True, related_name="title_calls"
    )
    gateway = models.ForeignKey(Gateway, models.SET_NULL, null=True, related_name="+")
    gateway_slug = models.CharField(_("gateway"), max_length=50)
    user = models.ForeignKey(settings.AUTH_USER_MODEL, models.SET_NULL, null=True, related_name="+")
    user_key = models.UUIDField()
    # The name of the one group that it counts for: theirs at that time, whatever becomes of it.
    user_group = models.CharField(_("group"), max_length=150, blank=True, default="", db_default="")
    purpose = models.CharField(_("purpose"), max_length=10, choices=Purpose, default=Purpose.REPLY)
    attempt = models.PositiveSmallIntegerField(_("attempt"), default=1)
    model = models.CharField(_("model"), max_length=MAX_MODEL_NAME)
    request_id = models.CharField(_("request id"), max_length=200, blank=True)
    http_status = models.PositiveSmallIntegerField(null=True)
    finish_reason = models.CharField(max_length=64, blank=True)
    error_kind = models.CharField(_("error"), max_length=20, blank=True)
    error_message = models.CharField(max_length=1000, blank=True)
    started_at = models.DateTimeField(_("started"), default=timezone.now, db_index=True)
    first_delta_at = models.DateTimeField(null=True)
    ended_at = models.DateTimeField(_("ended"), null=True)
    # Unknown is NULL, never 0.
    prompt_tokens = models.BigIntegerField(_("prompt tokens"), null=True)
    completion_tokens = models.BigIntegerField(_("completion tokens"), null=True)
    total_tokens = models.BigIntegerField(_("total tokens"), null=True)
    cached_tokens = models.BigIntegerField(_("cached tokens"), null=True)
    reasoning_tokens = models.BigIntegerField(_("reasoning tokens"), null=True)
    # The usage object to the letter, as JSON text: a number may be one that no column can hold.
    usage_raw = models.TextField(_("usage as it came"), blank=True)
    confidence = models.CharField(
        _("confidence"), max_length=10, choices=Confidence, default=Confidence.UNKNOWN
    )
    # 10^-9 of the currency: SQLite would add decimals as floats.
    cost_nano = models.BigIntegerField(null=True)
    currency = models.CharField(max_length=3, blank=True)
    cost_confidence = models.CharField(
        max_length=10, choices=Confidence, default=Confidence.UNKNOWN
    )
    # What it was billed at; NULL where the gateway itself said the cost.
    price = models.ForeignKey(Price, models.SET_NULL, null=True, related_name="+")
    # Whether there are charges of it to budgets.
    is_charged = models.BooleanField(default=False, db_default=False)

    class Meta:
        ordering = ["id"]
        indexes = [
            models.Index(
                fields=["gateway", "started_at"], name="call_errors", condition=~Q(error_kind="")
            ),
            models.Index(
                fields=["started_at"], name="call_running", condition=Q(ended_at__isnull=True)
            ),
            # Of a column that is nearly always NULL SQLite takes the key's own index for useless.
            models.Index(
                fields=["conversation"],
                name="call_titles",
                condition=Q(conversation__isnull=False),
            ),
        ]
        verbose_name = _("call")
        verbose_name_plural = _("calls")

    def __str__(self) -> str:
        return f"{self.gateway_slug} {self.model} {self.started_at:%Y-%m-%d %H:%M:%S}"

    @classmethod
    @transaction.atomic
    def end(cls, end: CallEnd) -> None:
        """Complete the row of a request that is over, and price it."""
        facts = asdict(end)
        row = cls.objects.filter(pk=facts.pop("call"))
        links, images = facts.pop("links"), facts.pop("images")
        if links or images:
            message = Message.objects.filter(calls__in=row, deleted_at=None)
            message.update(links=list(links))
            for pk in message.values_list("pk", flat=True):
                Picture.keep(pk, images)
        for call in row.select_related("gateway").select_for_update(of=("self",)):
            row.update(ended_at=timezone.now(), **(facts | bill(call, end)))
            after = row.get()
            Tally.follow(call, after)
            DayTally.follow(call, after)
            Charge.settle(after)

    @classmethod
    @transaction.atomic
    def end_once(cls, end: CallEnd) -> None:
        """`end`; of one that somebody has ended already only a true figure is taken, over a lesser.

        An owner that was taken for dead may wake, and know what its call was thought to have used.
        """
        if cls.objects.filter(pk=end.call, ended_at=None).exists():
            cls.end(end)
        elif end.confidence == Confidence.EXACT:
            lesser = cls.objects.filter(pk=end.call).exclude(confidence=Confidence.EXACT)
            if lesser.exists():
                cls.correct(end)

    @classmethod
    @transaction.atomic
    def correct(cls, end: CallEnd) -> None:
        """Put a late true figure in the place of what an ended call was thought to have used.

        Only what `end` says of usage is taken.
        """
        ended = cls.objects.filter(pk=end.call).select_for_update(of=("self",))
        for call in ended.select_related("gateway", "message"):
            usage = {name: value for name, value in asdict(end).items() if name in USAGE}
            cls.objects.filter(pk=call.pk).update(**(usage | bill(call, end)))
            after = cls.objects.get(pk=call.pk)
            Tally.follow(call, after)
            DayTally.follow(call, after)
            Charge.settle(after)
            if call.message is not None:
                version = call.message.conversation.bump()
                Message.objects.filter(pk=call.message.pk).update(version=version)

    @property
    def cost(self) -> Decimal | None:
        """In whole units of the currency, exactly."""
        return None if self.cost_nano is None else Decimal(self.cost_nano) / NANO

    @property
    def usage(self) -> dict[str, Any] | None:
        """The gateway's usage object as it came."""
        return json.loads(self.usage_raw) if self.usage_raw else None

    @classmethod
    @transaction.atomic
    def begin(
        cls,
        generation: "Generation",
        gateway: Gateway,
        model: str,
        attempt: int,
        weight: Weight | None = None,
    ) -> "Call":
        """The row of a request that is about to be sent, so that no crash hides it.

        May be repeated, where the answer to the first time got lost. `weight`: what budgets have to
        hold for it, where that isn't what they held at the claim; raises OverBudget.
        """
        facts = {"message": generation.message, **_by(generation.user, gateway, model)}
        call, is_new = cls.objects.get_or_create(
            generation=generation, attempt=attempt, purpose=cls.Purpose.REPLY, defaults=facts
        )
        if is_new and generation.is_charged:
            Charge.take(generation, call, weight)
        return call

    @classmethod
    def begin_title(
        cls, conversation: Conversation, gateway: Gateway, model: str, weigh: Weigh
    ) -> "Call":
        """`weigh` says what it may use; raises OverBudget."""
        by = _by(conversation.owner, gateway, model)
        return cls._begin_aside(cls.Purpose.TITLE, by | {"conversation": conversation}, weigh)

    @classmethod
    def begin_check(cls, user: Any, gateway: Gateway, model: str, weigh: Weigh) -> "Call":
        """`weigh` says what it may use; raises OverBudget."""
        return cls._begin_aside(cls.Purpose.CHECK, _by(user, gateway, model), weigh)

    @classmethod
    @transaction.atomic
    def _begin_aside(cls, purpose: str, by: dict[str, Any], weigh: Weigh) -> "Call":
        call = cls.objects.create(purpose=purpose, **by)
        if Charge.hold(call.user, weigh, call=call):
            call.mark_charged()
        return call

    def mark_charged(self) -> None:
        self.is_charged = True
        self.save(update_fields=["is_charged"])


def _by(user: Any, gateway: Gateway, model: str) -> dict[str, Any]:
    """What every call keeps of who asks whom."""
    return {
        "gateway": gateway,
        "gateway_slug": gateway.slug,
        "currency": gateway.currency,
        "user": user,
        "user_key": user.key,
        "user_group": user.group_name,
        "model": model,
    }
