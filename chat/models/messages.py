"""Messages, and what people may do with one: ask again, change, go on from, stop, delete."""

from typing import TYPE_CHECKING, Any, Self
from uuid import uuid4

from django.db import models, transaction
from django.db.models import F
from django.utils import timezone
from django.utils.functional import cached_property
from django.utils.translation import gettext_lazy as _

from . import bells, search
from .conversations import Conflict, Conversation, title_from
from .gateways import MAX_MODEL_NAME, Gateway
from .pictures import Picture

if TYPE_CHECKING:
    from .people import User


def beside() -> tuple[Any, ...]:
    """What a rendered message shows beside its own row, to be prefetched."""
    return "calls", models.Prefetch("pictures", Picture.objects.defer("content"))


class MessageQuerySet(models.QuerySet["Message"]):
    def of(self, user: "User") -> Self:
        """The messages that this person may see and command."""
        return self.filter(conversation__owner=user, conversation__deleted_at=None, deleted_at=None)

    def under_way(self) -> Self:
        return self.filter(status__in=[Message.Status.QUEUED, Message.Status.STREAMING])

    def for_display(self) -> Self:
        """With all that a rendered message shows, in a fixed number of queries."""
        return self.select_related(
            "generation", "gateway", "generation__waits_for", "feedback"
        ).prefetch_related(*beside())


class Message(models.Model):
    class Role(models.TextChoices):
        USER = "user", _("user")
        ASSISTANT = "assistant", _("assistant")

    class Status(models.TextChoices):
        QUEUED = "queued", _("queued")
        STREAMING = "streaming", _("streaming")
        COMPLETE = "complete", _("complete")
        STOPPED = "stopped", _("stopped")
        FAILED = "failed", _("failed")
        INTERRUPTED = "interrupted", _("interrupted")

    uuid = models.UUIDField(default=uuid4, unique=True, editable=False)
    conversation = models.ForeignKey(Conversation, models.CASCADE, related_name="messages")
    parent = models.ForeignKey("self", models.CASCADE, null=True, related_name="children")
    chosen = models.ForeignKey("self", models.SET_NULL, null=True, related_name="+")
    current = models.BooleanField(default=True)
    role = models.CharField(_("role"), max_length=10, choices=Role)
    text = models.TextField(_("text"), blank=True)
    reasoning = models.TextField(_("reasoning"), blank=True)
    status = models.CharField(_("status"), max_length=12, choices=Status, default=Status.COMPLETE)
    model = models.CharField(_("model"), max_length=MAX_MODEL_NAME, blank=True)
    gateway = models.ForeignKey(Gateway, models.SET_NULL, null=True, verbose_name=_("gateway"))
    # The attempt whose outcome this reply shows: the latest.
    generation = models.ForeignKey("Generation", models.SET_NULL, null=True, related_name="+")
    # Citations and images that came beside the text: [{"url", "title"}].
    links = models.JSONField(default=list)
    version = models.BigIntegerField(default=0)
    created_at = models.DateTimeField(_("created"), default=timezone.now)
    # When a person gave a reply other words; what it said is among its revisions.
    edited_at = models.DateTimeField(_("changed"), null=True)
    deleted_at = models.DateTimeField(_("deleted"), null=True)
    # When its words went for good, some time after it was deleted.
    purged_at = models.DateTimeField(null=True, editable=False)

    objects = MessageQuerySet.as_manager()

    class Meta:
        ordering = ["id"]
        indexes = [
            models.Index(fields=["conversation", "current", "id"], name="message_branch"),
            models.Index(fields=["conversation", "version"], name="message_changes"),
            models.Index(fields=["conversation", "status"], name="message_statuses"),
            models.Index(
                fields=["deleted_at"],
                name="message_purge",
                condition=models.Q(deleted_at__isnull=False, purged_at=None),
            ),
        ]
        verbose_name = _("message")
        verbose_name_plural = _("messages")

    def __str__(self) -> str:
        return f"{self.role} {self.uuid}"

    def get_absolute_url(self) -> str:
        """The page around it, for one that is on the current branch."""
        return f"{self.conversation.get_absolute_url()}?at={self.uuid}#m-{self.uuid}"

    @property
    def is_reply(self) -> bool:
        return self.role == self.Role.ASSISTANT

    @property
    def is_open(self) -> bool:
        """Whether something may still be added to it without a person's doing."""
        return self.status in (self.Status.QUEUED, self.Status.STREAMING)

    @cached_property
    def siblings(self) -> list["Message"]:
        """All versions of this turn, itself included, oldest first."""
        turn = Message.objects.filter(
            conversation=self.conversation_id, parent=self.parent_id, deleted_at=None
        )
        return list(turn.only("id", "uuid").order_by("id"))

    # --- commands -----------------------------------------------------------------------------

    def queue(self, kind: str, waits_for: "Message | None" = None) -> None:
        """Ask for a (further) attempt at this reply, within the caller's transaction.

        Raises TooManyRequests, where its owner asks faster than people may.
        """
        from .generations import Generation

        Generation.check_rate(self.conversation.owner_id)
        self.generation = Generation.objects.create(
            kind=kind,
            message=self,
            conversation=self.conversation,
            user_id=self.conversation.owner_id,
            gateway=self.gateway,
            waits_for=waits_for,
        )
        self.status = self.Status.QUEUED
        self.save(update_fields=["generation", "status"])
        bells.ring(bells.RUNNERS)

    @transaction.atomic
    def stop(self) -> None:
        """End the running attempt, or the queued one before a call is made; nothing if it has ended."""
        from .generations import Generation

        self.lock()
        if self.generation_id:
            Generation.stop_all(Generation.objects.filter(pk=self.generation_id))

    @transaction.atomic
    def retry(self) -> "Message":
        """Try again; returns the reply that will hold the answer.

        A reply that has text keeps it and gets a sibling, unless another question waits behind it:
        then it begins anew, so that the question stays where it was asked. One that is the next in
        the queue goes now, and what runs ahead of it is stopped. Raises Conflict for any other one
        that is open, or complete.
        """
        self.lock()
        if self.can_go_now:
            self.generation.waits_for.stop()
            self.generation.release()
            return self
        if not self.is_reply or self.is_open or self.status == self.Status.COMPLETE:
            raise Conflict
        followed = self.conversation.messages.filter(generation__waits_for=self.pk, deleted_at=None)
        if (self.text or self.reasoning) and not followed.exists():
            return self._answer_again("retry", self.model, self.gateway)
        if self.text or self.reasoning:
            self.conversation.refuse_if_held()
        self.text = self.reasoning = ""
        self.version = self.conversation.bump(sidebar=True)
        self.save(update_fields=["text", "reasoning", "version"])
        search.put_messages([self.pk])
        self.queue("retry")
        return self

    @transaction.atomic
    def regenerate(self, model: str = "", gateway: Gateway | None = None) -> "Message":
        """A sibling of this reply with another answer; returns it. Raises Conflict while it runs."""
        self.lock()
        if not self.is_reply or self.is_open:
            raise Conflict
        return self._answer_again("regenerate", model or self.model, gateway or self.gateway)

    @transaction.atomic
    def go_on(self) -> "Message":
        """Continue a reply that was cut, at the end of its branch; raises Conflict elsewhere."""
        self.lock()
        if not self.can_continue or self.conversation.leaf_id != self.pk:
            raise Conflict
        self.version = self.conversation.bump(sidebar=True)
        self.save(update_fields=["version"])
        self.queue("continue")
        return self

    @transaction.atomic
    def edit(self, text: str, model: str, gateway: Gateway) -> "Message":
        """Ask the question anew beside the old one; returns the queued reply.

        A question that no model was asked yet is changed where it stands. Raises Conflict while
        another one is being answered.
        """
        self.lock()
        if self.is_reply:
            raise Conflict
        if reply := self._unasked():
            return self._reword(reply, text, model, gateway)
        if self.conversation.branch().under_way().exists():
            raise Conflict
        conversation = self.conversation
        version = conversation.bump(branch=True)
        conversation.set_path(self.parent, version)
        return conversation.put_question(self.parent, text, model, gateway)

    def _unasked(self) -> "Message | None":
        """The queued reply to this question, kept from being claimed; None where there isn't one."""
        from .generations import Generation

        # A claim takes its row before the conversation's, we the other way: never wait for it.
        queued = Generation.objects.select_for_update(skip_locked=True, of=("self",))
        replies = self.children.filter(deleted_at=None)
        found = queued.filter(message__in=replies, status=self.Status.QUEUED, kind="send").first()
        return found.message if found else None

    def _reword(self, reply: "Message", text: str, model: str, gateway: Gateway) -> "Message":
        conversation = self.conversation
        is_title = conversation.title == title_from(self.text)
        if is_title and conversation.title_source == Conversation.TitleSource.WORDS:
            conversation.title = title_from(text)
            conversation.save(update_fields=["title"])
            search.put_titles([conversation.pk])
        self.text, self.version = text, conversation.bump(sidebar=True)
        self.save(update_fields=["text", "version"])
        search.put_messages([self.pk])
        reply.model, reply.gateway, reply.version = model, gateway, self.version
        reply.save(update_fields=["model", "gateway", "version"])
        reply.generation.gateway = gateway
        reply.generation.save(update_fields=["gateway"])
        return reply

    @transaction.atomic
    def make_current(self) -> None:
        """Show the branch on which this message lies, down the way that was chosen last."""
        self.lock()
        if self.deleted_at is not None:
            return
        version = self.conversation.bump(branch=True)
        self.conversation.set_path(self.conversation.end_below(self), version)

    @transaction.atomic
    def delete_for_owner(self) -> None:
        """Hide this message and all that follows it on any branch; what runs there is cancelled.

        Raises Held.
        """
        from .generations import Generation

        self.lock()
        conversation = self.conversation
        conversation.refuse_if_held()
        gone = self._subtree()
        conversation.messages.filter(pk__in=gone).update(
            deleted_at=timezone.now(), current=False, version=F("version")
        )
        search.put_messages(gone)
        Generation.stop_all(conversation.generations.filter(message__in=gone))
        version = conversation.bump(sidebar=True, branch=True)
        sibling = conversation.messages.filter(parent=self.parent, deleted_at=None).last()
        conversation.set_path(conversation.end_below(sibling or self.parent), version)

    def lock(self) -> None:
        conversation = self.conversation
        conversation.lock()
        self.refresh_from_db()
        # Refreshing dropped it, and the caller would go on with another one than we change here.
        self.conversation = conversation

    def reach(self) -> tuple[int, bool]:
        """How many messages go when this one is deleted, and whether they are on several branches."""
        tree = self.conversation.tree()
        gone = [pk for pk in self._subtree() if pk in tree]
        parents = [tree[pk].parent for pk in gone if pk != self.pk]
        return len(gone), len(set(parents)) < len(parents)

    def _subtree(self) -> list[int]:
        children: dict[int | None, list[int]] = {}
        for pk, parent in self.conversation.messages.values_list("id", "parent_id"):
            children.setdefault(parent, []).append(pk)
        found, todo = [], [self.pk]
        while todo:
            pk = todo.pop()
            found.append(pk)
            todo += children.get(pk, [])
        return found

    def _answer_again(self, kind: str, model: str, gateway: Gateway | None) -> "Message":
        conversation = self.conversation
        if conversation.branch().under_way().exists():
            raise Conflict
        version = conversation.bump(sidebar=True, branch=True)
        sibling = Message.objects.create(
            conversation=conversation,
            parent=self.parent,
            role=self.Role.ASSISTANT,
            status=self.Status.QUEUED,
            model=model,
            gateway=gateway,
            version=version,
            current=False,
        )
        conversation.set_path(sibling, version)
        sibling.queue(kind)
        return sibling

    # --- what may be done with it -------------------------------------------------------------

    @property
    def is_unasked(self) -> bool:
        """A question that no model was asked yet: its first reply is queued."""
        replies = self.children.filter(deleted_at=None, status=self.Status.QUEUED)
        return replies.filter(generation__kind="send").exists()

    @property
    def is_held(self) -> bool:
        """Queued behind a reply that ended without being complete: it waits for a person's word."""
        return self.can_go_now and not self.generation.waits_for.is_open

    @property
    def can_go_now(self) -> bool:
        """Held, or behind a reply that is under way: the next one to be asked for."""
        if self.status != self.Status.QUEUED or self.generation is None:
            return False
        ahead = self.generation.waits_for
        return ahead is not None and ahead.status not in (self.Status.QUEUED, self.Status.COMPLETE)

    @property
    def is_cut(self) -> bool:
        """Whether its text was broken off where it ends."""
        if not self.is_reply or self.is_open or self.edited_at:
            return False
        if self.status != self.Status.COMPLETE:
            return True
        cut_short = ("length", "content_filter")
        return self.generation is not None and self.generation.finish_reason in cut_short

    @property
    def can_continue(self) -> bool:
        """Cut short with something to go on from."""
        if not (self.is_reply and self.text and self.generation):
            return False
        if self.status == self.Status.COMPLETE:
            return self.generation.finish_reason == "length"
        return self.status in (self.Status.INTERRUPTED, self.Status.STOPPED)

    @property
    def can_retry(self) -> bool:
        ended_badly = (self.Status.FAILED, self.Status.INTERRUPTED, self.Status.STOPPED)
        return self.is_reply and (self.status in ended_badly or self.can_go_now)
