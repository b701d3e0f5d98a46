"""Generations: the truth about each attempt at a reply.

    queued -> streaming -> complete | stopped | failed | interrupted
    queued -> stopped | failed (a budget can't pay for it)

A claim has one winner, and only the holder of a generation's fence may write under it. Every write
of a running reply is conditional on the fence and on what is saved already, so that a write which is
tried again, after an answer that got lost, never doubles a word.
"""

from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from datetime import timedelta
from functools import partial
from math import ceil
from typing import Any

from django.conf import settings
from django.db import IntegrityError, connection, models, transaction
from django.db.models import Count, Exists, F, OuterRef, Q
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from . import bells, search
from .budgets import Budget, OverBudget, Refusal, Weight
from .calls import Call, CallEnd
from .charges import Charge
from .conversations import Conversation
from .gateways import Gateway
from .messages import Message
from .notices import Notice
from .pictures import Picture, in_text

MINUTE = timedelta(minutes=1)
Status = Message.Status
Weigh = Callable[[], Weight]
# Of what is queued: not behind a reply that is still to come, or that ended without being complete.
_MAY_GO = Q(waits_for=None) | Q(waits_for__status=Status.COMPLETE)

# What each running reply costs five times a second; made of expressions anew it costs ten times that.
_ADVANCE = """
    UPDATE chat_generation SET saved_reasoning = %s, saved_text = %s, timings = timings || %s,
        first_delta_at = COALESCE(first_delta_at, %s)
    WHERE id = %s AND fence = %s AND saved_reasoning = %s AND saved_text = %s
        AND status = 'streaming'
"""
_APPEND = """
    UPDATE chat_message SET reasoning = reasoning || %s, text = text || %s
    WHERE generation_id = %s AND deleted_at IS NULL
"""


class TooManyRequests(Exception):
    """Somebody asks for more than POTOK_REQUESTS_A_MINUTE; `wait_s` until one more fits."""

    def __init__(self, wait_s: int) -> None:
        super().__init__(wait_s)
        self.wait_s = wait_s


@dataclass(frozen=True)
class Checkpoint:
    """What a running reply gained since its last checkpoint; lengths in characters."""

    generation: int
    fence: int
    saved: tuple[int, int]  # lengths of reasoning and text that the row holds
    reasoning: str
    text: str
    ms: int  # since the claim

    @property
    def end(self) -> tuple[int, int]:
        return self.saved[0] + len(self.reasoning), self.saved[1] + len(self.text)


@dataclass(frozen=True)
class Outcome:
    """How an attempt ended."""

    status: str
    finish_reason: str = ""
    error_kind: str = ""
    error_message: str = ""
    error_reason: str = ""
    error_seconds: float | None = None
    refusal: Refusal | None = None


class Generation(models.Model):
    kind = models.CharField(max_length=12)  # send, regenerate, retry, continue
    message = models.ForeignKey(Message, models.CASCADE, related_name="generations")
    conversation = models.ForeignKey(Conversation, models.CASCADE, related_name="generations")
    user = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, related_name="+")
    gateway = models.ForeignKey(Gateway, models.SET_NULL, null=True, related_name="+")
    status = models.CharField(max_length=12, choices=Status, default=Status.QUEUED)
    # The reply ahead of this one; it goes on by itself only once that is complete.
    waits_for = models.ForeignKey(Message, models.SET_NULL, null=True, related_name="+")
    owner = models.CharField(max_length=36, blank=True)
    fence = models.BigIntegerField(default=0)
    heartbeat = models.BigIntegerField(default=0)
    stop_requested = models.BooleanField(default=False)
    # Lengths that earlier attempts had brought when this one was claimed; and those saved by now.
    base_reasoning = models.BigIntegerField(default=0)
    base_text = models.BigIntegerField(default=0)
    saved_reasoning = models.BigIntegerField(default=0)
    saved_text = models.BigIntegerField(default=0)
    # A line a checkpoint, for replay: milliseconds since the claim, length of reasoning, of text.
    timings = models.TextField(blank=True)
    finish_reason = models.CharField(_("finish reason"), max_length=64, blank=True)
    error_kind = models.CharField(_("error"), max_length=20, blank=True)
    # The gateway's own words, cleaned and bounded; what the reader is told is built from the kind.
    error_message = models.CharField(max_length=1000, blank=True)
    error_reason = models.CharField(max_length=40, blank=True)
    error_seconds = models.FloatField(null=True)
    # The fields of the Refusal of a budget.
    refusal = models.JSONField(null=True)
    # Whether something is held for it, or was; and how long its reply may then be at most.
    is_charged = models.BooleanField(default=False, db_default=False)
    allowed_tokens = models.BigIntegerField(null=True)
    queued_at = models.DateTimeField(default=timezone.now)
    claimed_at = models.DateTimeField(null=True)
    first_delta_at = models.DateTimeField(null=True)
    ended_at = models.DateTimeField(null=True)

    class Meta:
        indexes = [
            models.Index(fields=["id"], name="generation_queue", condition=Q(status=Status.QUEUED)),
            models.Index(
                fields=["owner"], name="generation_running", condition=Q(status=Status.STREAMING)
            ),
            models.Index(fields=["conversation", "status"], name="generation_busy"),
            models.Index(
                fields=["ended_at"],
                name="generation_interrupted",
                condition=Q(status=Status.INTERRUPTED),
            ),
            models.Index(fields=["user", "queued_at"], name="generation_rate"),
        ]
        permissions = [("stop_generation", "Can stop somebody's reply")]
        constraints = [
            models.UniqueConstraint(
                fields=["conversation"],
                condition=Q(status=Status.STREAMING),
                name="one_running_reply_a_conversation",
            )
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.pk} {self.status}"

    @classmethod
    def check_rate(cls, user: int) -> None:
        """Raises TooManyRequests where this person has asked for as much as a minute may bring."""
        limit, now = settings.REQUESTS_A_MINUTE, timezone.now()
        # One that a clock which was set back has put into the future is no reason to wait for it.
        lately = cls.objects.filter(user=user, queued_at__range=(now - MINUTE, now + MINUTE))
        last = lately.order_by("-queued_at").values_list("queued_at", flat=True)
        if limit and (oldest := last[limit - 1 : limit].first()):
            raise TooManyRequests(max(1, ceil((oldest + MINUTE - now).total_seconds())))

    @classmethod
    def under_way(cls) -> "models.QuerySet[Generation]":
        """Those that run, or will without a person's word; of a queue that may go on, its head."""
        open_ones = cls.objects.filter(status__in=[Status.QUEUED, Status.STREAMING])
        return open_ones.filter(Q(_MAY_GO) | Q(status=Status.STREAMING))

    # --- claiming -----------------------------------------------------------------------------

    @classmethod
    def claim(
        cls,
        owner: str,
        full_gateways: Iterable[int] = (),
        weigh: "Callable[[Generation], Weight | None]" = lambda _: Weight(0, 0),
    ) -> "Generation | None":
        """Take the oldest reply that may run, or None. Only the taker may write it from then on.

        `weigh` says what it may use, of which a budget holds as much; None where it won't be called.
        One that a budget can't pay for ends, and the next is looked at.
        """
        # An idle runner asks every second, and a transaction would lock out SQLite's writers.
        if not cls.objects.filter(status=Status.QUEUED).exists():
            return None
        while True:
            try:
                with transaction.atomic():
                    found = cls._claim(owner, full_gateways, weigh)
            except IntegrityError:
                # Another runner began a reply in the same conversation between our look and our write.
                return None
            if found is None or found.status == Status.STREAMING:
                return found

    @classmethod
    def unbegun(cls, owner: str, running: Iterable[int]) -> "Generation | None":
        """A reply that this owner has claimed and, not knowing it, doesn't run; no call was made."""
        mine = cls.objects.filter(owner=owner, status=Status.STREAMING, calls=None)
        return mine.exclude(pk__in=list(running)).first()

    @classmethod
    def _claim(
        cls,
        owner: str,
        full_gateways: Iterable[int],
        weigh: "Callable[[Generation], Weight | None]",
    ) -> "Generation | None":
        running = cls.objects.filter(status=Status.STREAMING)
        busy_users = (
            running.values("user").annotate(n=Count("id")).filter(n__gte=settings.REPLIES_AT_ONCE)
        )
        ready = (
            cls.objects.filter(status=Status.QUEUED, conversation__deleted_at=None)
            .filter(_MAY_GO)
            .exclude(Exists(running.filter(conversation=OuterRef("conversation"))))
            .exclude(user__in=busy_users.values("user"))
            .exclude(gateway__in=list(full_gateways))
            .annotate(is_budgeted=Exists(Budget.objects.all()))
            .order_by("id")
            .select_related("conversation", "user")
        )
        if connection.features.has_select_for_update_skip_locked:
            # The conversation too, as commands have it; what one of them holds has its turn later.
            ready = ready.select_for_update(
                skip_locked=True, no_key=True, of=("self", "conversation")
            )
        found = ready.first()
        if found is None:
            return None
        if found.is_budgeted:
            try:
                found.allow(Charge.hold(found.user, partial(weigh, found), generation=found))
            except OverBudget as error:
                found._refuse(error)
                return found
        message = found.message = Message.objects.select_related("gateway").get(pk=found.message_id)
        found.status = Status.STREAMING
        found.owner = owner
        found.fence += 1
        found.claimed_at = timezone.now()
        found.base_reasoning = found.saved_reasoning = len(message.reasoning)
        found.base_text = found.saved_text = len(message.text)
        found.save()
        message.status = Status.STREAMING
        message.version = found.conversation.bump(sidebar=True)
        message.save(update_fields=["status", "version"])
        found._tell_waiting(message.version)
        return found

    def allow(self, weight: Weight | None) -> None:
        """Take over, unsaved, what budgets have left it; None where none applies."""
        self.is_charged = weight is not None
        self.allowed_tokens = None if weight is None or weight.is_bounded else weight.reply_tokens

    def _refuse(self, error: OverBudget) -> None:
        """End it before a call is made."""
        Generation.objects.filter(pk=self.pk).update(**_ending(over_budget(error)))
        Notice.refused(error)
        self._show_end()

    @property
    def places_ahead(self) -> int:
        """How many replies were asked for earlier and still wait for a runner, not for a person."""
        queued = Generation.objects.filter(status=Status.QUEUED)
        ended_badly = (Status.STOPPED, Status.FAILED, Status.INTERRUPTED)
        held = queued.filter(waits_for__status__in=ended_badly).values("conversation")
        return queued.filter(pk__lt=self.pk).exclude(conversation__in=held).count()

    @property
    def thought_s(self) -> int | None:
        """Seconds from the claim until there was text, or until it ended with reasoning alone.

        None where that is not known (yet).
        """
        for line in self.timings.splitlines():
            ms, _, text = map(int, line.split())
            if text > self.base_text:
                return max(1, round(ms / 1000))
        if self.ended_at is None or self.claimed_at is None or not self.timings:
            return None
        return max(1, round((self.ended_at - self.claimed_at).total_seconds()))

    def release(self) -> None:
        """Let a held reply go without waiting for the one ahead."""
        self.waits_for = None
        self.save(update_fields=["waits_for"])
        version = self.conversation.bump(sidebar=True)
        Message.objects.filter(pk=self.message_id).update(version=version)
        bells.ring(bells.RUNNERS)

    # --- running ------------------------------------------------------------------------------

    @classmethod
    @transaction.atomic
    def checkpoint(cls, batch: Iterable[Checkpoint]) -> list[int]:
        """Save what running replies gained; returns the generations that are no longer the caller's."""
        return [c.generation for c in batch if not cls._save(c)]

    @classmethod
    def _save(cls, gain: Checkpoint) -> bool:
        reasoning, text = gain.end
        now = connection.ops.adapt_datetimefield_value(timezone.now())
        with connection.cursor() as cursor:
            timing = f"{gain.ms} {reasoning} {text}\n"
            held = (gain.generation, gain.fence, *gain.saved)
            cursor.execute(_ADVANCE, (reasoning, text, timing, now, *held))
            if cursor.rowcount:
                cursor.execute(_APPEND, (gain.reasoning, gain.text, gain.generation))
                return True
        # Either an earlier try did reach the database and only its answer was lost, or it isn't ours.
        mine = cls.objects.filter(pk=gain.generation, fence=gain.fence, status=Status.STREAMING)
        return mine.filter(saved_reasoning=reasoning, saved_text=text).exists()

    @classmethod
    def beat(cls, owner: str) -> dict[int, bool]:
        """Show that the owner lives; returns its replies, and which of them were asked to stop.

        One that is missing is no longer its own: taken for dead, or removed with its conversation.
        """
        mine = cls.objects.filter(owner=owner, status=Status.STREAMING)
        mine.update(heartbeat=F("heartbeat") + 1)
        return dict(mine.values_list("pk", "stop_requested"))

    @classmethod
    @transaction.atomic
    def finish(cls, pk: int, fence: int, outcome: Outcome, call: CallEnd | None = None) -> bool:
        """Give it its one terminal state; False if it is no longer the caller's. May be repeated."""
        mine = cls.objects.filter(pk=pk, fence=fence)
        cls._lock_conversation(pk)
        # First, as it waits for whoever is giving the reply up: he ends the call as well.
        is_ended = mine.filter(status=Status.STREAMING).update(**_ending(outcome))
        if call is not None:
            Call.end_once(call)
        if is_ended:
            # A stop may fall between a call's row and the call.
            for unmade in Call.objects.filter(generation=pk, ended_at=None):
                Call.end(CallEnd(unmade.pk))
            mine.select_related("conversation__owner").get()._show_end()
            return True
        return mine.filter(status=outcome.status).exists()

    @classmethod
    @transaction.atomic
    def stop_all(cls, generations: "models.QuerySet[Generation]") -> None:
        """Stop queued ones here and now, and have running ones stopped by whoever runs them."""
        for queued in generations.filter(status=Status.QUEUED):
            if cls.objects.filter(pk=queued.pk, status=Status.QUEUED).update(
                **_ending(Outcome(Status.STOPPED))
            ):
                queued._show_end()
        for pk in generations.filter(status=Status.STREAMING).values_list("pk", flat=True):
            cls.objects.filter(pk=pk).update(stop_requested=True)
            bells.ring(bells.RUNNERS, stop=pk)

    @classmethod
    def sweep(
        cls,
        owners_alive: Iterable[str],
        kind: str = "crash",
        usage: "Callable[[Generation], dict[str, Any]]" = lambda _: {},
    ) -> int:
        """Give up what all other owners left; returns how many replies that were."""
        left = cls.objects.filter(status=Status.STREAMING).exclude(owner__in=list(owners_alive))
        pks = list(left.values_list("pk", flat=True))
        return sum(cls.give_up(pk, kind=kind, usage=usage) for pk in pks)

    @classmethod
    def pulses(cls) -> dict[int, tuple[int, int]]:
        """(fence, heartbeat) of every running reply."""
        running = cls.objects.filter(status=Status.STREAMING)
        return {
            pk: (fence, beats)
            for pk, fence, beats in running.values_list("pk", "fence", "heartbeat")
        }

    @classmethod
    @transaction.atomic
    def touch(cls, pks: Iterable[int]) -> None:
        """Write what is there: where that succeeds, an owner's heartbeat would have as well."""
        # One row: a statement that locked some while it waits for another would meet a checkpoint
        # that took them in its own order, and PostgreSQL end one of the two a second later. And one
        # that nobody holds: an owner that is frozen within a transaction would hold up who looks.
        rows = cls.objects.filter(pk__in=pks).order_by("pk")
        if connection.features.has_select_for_update_skip_locked:
            rows = rows.select_for_update(skip_locked=True, no_key=True)
        if (free := rows.values_list("pk", flat=True).first()) is not None:
            cls.objects.filter(pk=free).update(heartbeat=F("heartbeat"))

    @classmethod
    @transaction.atomic
    def give_up(
        cls,
        pk: int,
        pulse: tuple[int, int] | None = None,
        kind: str = "crash",
        rest: "Callable[[Generation], tuple[str, str]]" = lambda _: ("", ""),
        usage: "Callable[[Generation], dict[str, Any]]" = lambda _: {},
    ) -> bool:
        """Mark a reply whose owner is dead as interrupted; False where it has ended, or lives.

        It lives if fence and heartbeat are not those of `pulse` any more. `rest` says what readers
        may have seen beyond the row, `usage` what the columns of a call are that a crash cut.
        """
        dead = cls.objects.filter(pk=pk, status=Status.STREAMING)
        cls._lock_conversation(pk)
        if pulse is not None:
            dead = dead.filter(fence=pulse[0], heartbeat=pulse[1])
        generation = dead.select_for_update().first()
        if generation is None:
            return False
        reasoning, text = rest(generation)
        if reasoning or text:
            saved = (generation.saved_reasoning, generation.saved_text)
            # When it came is not known; the replay shows it with what came last.
            ms = int(generation.timings.split()[-3]) if generation.timings else 0
            cls._save(Checkpoint(pk, generation.fence, saved, reasoning, text, ms))
        dead.update(fence=F("fence") + 1, **_ending(Outcome(Status.INTERRUPTED, error_kind=kind)))
        generation.refresh_from_db()
        for call in generation.calls.filter(ended_at=None):
            Call.end(CallEnd(call.pk, error_kind=kind, **usage(generation)))
        generation._show_end()
        return True

    @classmethod
    def _lock_conversation(cls, pk: int) -> None:
        """Before the reply's own row, as commands do: who takes them in one order waits in no circle."""
        Conversation.keep_from_others(cls.objects.filter(pk=pk).values("conversation"))

    def _show_end(self) -> None:
        """Make the reply's row say what its latest attempt came to."""
        self.refresh_from_db()
        if self.is_charged:
            Charge.release(self)
        version = self.conversation.bump(sidebar=True)
        if self.status != Status.STOPPED:  # whoever stopped it knows
            Conversation.objects.filter(pk=self.conversation_id).update(answered_version=version)
        Message.objects.filter(pk=self.message_id, generation=self.pk).update(
            status=self.status, version=version
        )
        search.put_messages([self.message_id])
        self._keep_pictures()
        self._tell_waiting(version)
        bells.ring(bells.RUNNERS)

    def _keep_pictures(self) -> None:
        """Images that stand in the text, beside it: the page shows there only what they are called."""
        mine = Message.objects.filter(pk=self.message_id, generation=self.pk, deleted_at=None)
        for text in mine.filter(text__contains="](data:image/").values_list("text", flat=True):
            # What an attempt before this one said has been looked through.
            Picture.keep(self.message_id, in_text(text[self.base_text :]))

    def _tell_waiting(self, version: int) -> None:
        """How a reply stands shows in what waits behind it as well."""
        waiting = Message.objects.filter(
            generation__waits_for=self.message_id, status=Status.QUEUED
        )
        waiting.update(version=version)


def _ending(outcome: Outcome) -> dict[str, Any]:
    return {
        "status": outcome.status,
        "finish_reason": outcome.finish_reason[:64],
        "error_kind": outcome.error_kind,
        "error_message": outcome.error_message[:1000],
        "error_reason": outcome.error_reason[:40],
        "error_seconds": outcome.error_seconds,
        "refusal": asdict(outcome.refusal) if outcome.refusal else None,
        "ended_at": timezone.now(),
    }


def over_budget(error: OverBudget) -> Outcome:
    """How a reply ends that a budget can't pay for."""
    reason, wait_s = error.refusal.reason, float(error.refusal.wait_s)
    return Outcome(
        Status.FAILED,
        error_kind="budget",
        error_reason=reason,
        error_seconds=wait_s if reason == "limit" else None,
        refusal=error.refusal,
    )
