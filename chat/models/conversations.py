"""Conversations and their messages: a tree, of which one branch from root to leaf is current.

Every visible change raises the conversation's version in its own transaction, and each message keeps
the version that changed it last; so 'what is new since version N' has one answer for page and socket.
"""

from datetime import timedelta
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple, Self
from uuid import UUID, uuid4

from django.conf import settings
from django.db import models, transaction
from django.db.models import F
from django.urls import reverse
from django.utils import timezone
from django.utils.functional import cached_property
from django.utils.translation import gettext_lazy as _

from . import bells, search
from .gateways import MAX_MODEL_NAME, Gateway
from .parameters import NONE, Asked
from .pictures import Picture

if TYPE_CHECKING:
    from .people import User

TITLE_CHARS = 60
MAX_PINNED = 100
# How long after a deletion its owner may undo it.
UNDO_WITHIN = timedelta(hours=1)


class Conflict(Exception):
    """The command no longer fits what the conversation has become; answered 409."""


class Held(Conflict):
    """A legal hold stands on it: nothing of it is deleted until that is lifted."""


class _Node(NamedTuple):
    """A message's place in the tree, by keys."""

    parent: int | None
    chosen: int | None


class ConversationQuerySet(models.QuerySet["Conversation"]):
    def alive(self) -> Self:
        return self.filter(deleted_at=None)

    def restorable(self) -> Self:
        return self.filter(deleted_at__gt=timezone.now() - UNDO_WITHIN)

    def listed(self) -> Self:
        """For a sidebar: newest first."""
        return self.alive().order_by("-active_at", "-id")


class Conversation(models.Model):
    class TitleSource(models.TextChoices):
        WORDS = "words", _("first words")
        MODEL = "model", _("model")
        PERSON = "person", _("person")

    uuid = models.UUIDField(default=uuid4, unique=True, editable=False)
    owner = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        models.CASCADE,
        related_name="conversations",
        verbose_name=_("owner"),
    )
    title = models.CharField(_("title"), max_length=200)
    title_source = models.CharField(max_length=10, choices=TitleSource, default=TitleSource.WORDS)
    leaf = models.ForeignKey(
        "Message", models.SET_NULL, null=True, editable=False, related_name="+"
    )
    # The message of another conversation up to which this one was copied.
    forked_from = models.ForeignKey(
        "Message", models.SET_NULL, null=True, editable=False, related_name="forks"
    )
    # Sent with each question from then on; nothing of it where it isn't set.
    system_prompt = models.TextField(_("system prompt"), blank=True, default="", db_default="")
    parameters = models.JSONField(_("parameters"), default=dict, blank=True, db_default=NONE)
    version = models.BigIntegerField(default=0, editable=False)
    # The version at which the current branch last changed otherwise than by growing at its end.
    branch_version = models.BigIntegerField(default=0, editable=False)
    created_at = models.DateTimeField(_("created"), default=timezone.now)
    active_at = models.DateTimeField(_("last activity"), default=timezone.now)
    deleted_at = models.DateTimeField(_("deleted"), null=True, editable=False)
    pinned_at = models.DateTimeField(null=True, editable=False)
    # The owner's version at which its line in the sidebar changed last.
    listed_version = models.BigIntegerField(default=0, db_default=0, editable=False)
    # The versions at which a reply last came to its end, and that its owner has seen.
    answered_version = models.BigIntegerField(default=0, db_default=0, editable=False)
    read_version = models.BigIntegerField(default=0, db_default=0, editable=False)

    objects = ConversationQuerySet.as_manager()

    class Meta:
        ordering = ["-active_at", "-id"]
        indexes = [
            models.Index(fields=["owner", "-active_at", "-id"], name="conversation_sidebar"),
            models.Index(fields=["-active_at", "-id"], name="conversation_newest"),
            models.Index(fields=["owner", "listed_version"], name="conversation_listed"),
            models.Index(
                fields=["owner", "pinned_at"],
                name="conversation_pinned",
                condition=models.Q(pinned_at__isnull=False),
            ),
            models.Index(
                fields=["deleted_at"],
                name="conversation_deleted",
                condition=models.Q(deleted_at__isnull=False),
            ),
        ]
        permissions = [
            # Without titles and words.
            ("see_sums", "Can see what conversations add up to"),
            ("see_deleted", "Can see what its owner deleted"),
        ]
        verbose_name = _("conversation")
        verbose_name_plural = _("conversations")

    def __str__(self) -> str:
        return self.title

    def get_absolute_url(self) -> str:
        return reverse("conversation", args=[self.uuid])

    @property
    def is_unread(self) -> bool:
        """A reply has ended that its owner has not looked at."""
        return self.answered_version > self.read_version

    # --- changes ------------------------------------------------------------------------------

    @classmethod
    @transaction.atomic
    def start(
        cls, owner: "User", text: str, model: str, gateway: Gateway, asked: Asked | None = None
    ) -> "Message":
        """A new conversation with its first question; returns the queued reply.

        It begins with what its owner's conversations begin with, unless something else is `asked`.
        """
        system_prompt, parameters = owner.asked if asked is None else asked
        conversation = cls.objects.create(
            owner=owner,
            title=title_from(text),
            system_prompt=system_prompt,
            parameters=parameters,
        )
        search.put_titles([conversation.pk])
        return conversation.send(text, model, gateway)

    @transaction.atomic
    def send(
        self, text: str, model: str, gateway: Gateway, parent: UUID | None = None
    ) -> "Message":
        """Record a question and its queued reply at the end of a branch; returns the reply.

        `parent` is the last message that the sender's page shows: the end of its branch is meant.
        """
        self.lock()
        leaf = self._end_of_branch(parent)
        return self._ask(leaf, text, model, gateway)

    @transaction.atomic
    def rename(self, title: str) -> None:
        self.title = title
        self.title_source = self.TitleSource.PERSON
        self.save(update_fields=["title", "title_source"])
        search.put_titles([self.pk])
        self.bump(sidebar=True)

    @property
    def asked(self) -> Asked:
        """What each question asks for beside its messages."""
        return Asked(self.system_prompt, self.parameters)

    def ask_for(self, asked: Asked) -> None:
        """Ask for something else from the next question on."""
        self.system_prompt, self.parameters = asked
        self.save(update_fields=["system_prompt", "parameters"])

    @transaction.atomic
    def take_title(self, title: str) -> None:
        """A title that a model wrote, unless a person has given one in the meantime."""
        self.lock()
        if self.title_source == self.TitleSource.WORDS and title:
            self.title = title[:200]
            self.title_source = self.TitleSource.MODEL
            self.save(update_fields=["title", "title_source"])
            search.put_titles([self.pk])
            self.bump(sidebar=True)

    @transaction.atomic
    def delete_for_owner(self) -> None:
        """Hide it from its owner at once and cancel what runs in it; usage stays. Raises Held."""
        from .generations import Generation

        self.lock()
        self.refuse_if_held()
        self.deleted_at = timezone.now()
        self.save(update_fields=["deleted_at"])
        search.forget_conversations([self.pk])
        Generation.stop_all(self.generations.all())
        self.bump(sidebar=True)

    @classmethod
    @transaction.atomic
    def delete_all_of(cls, owner: "User") -> int:
        """`delete_for_owner` of all that no hold stands on; returns on how many one does."""
        from .generations import Generation
        from .holds import holding

        rows = cls.objects.alive().filter(owner=owner).select_for_update()
        free = list(rows.exclude(holding()).values_list("pk", flat=True))
        # Told apart from what was deleted before by the moment.
        now = timezone.now()
        owners = owner.__class__.objects.filter(pk=owner.pk)
        owners.update(version=F("version") + 1)
        alive = cls.objects.alive().filter(owner=owner).exclude(holding())
        alive.update(
            deleted_at=now, version=F("version") + 1, listed_version=owners.values("version")
        )
        search.forget_conversations(free)
        gone = {"conversation__owner": owner, "conversation__deleted_at": now}
        Generation.stop_all(Generation.objects.filter(**gone))
        bells.ring(bells.user_group(owner.pk))
        return cls.objects.alive().filter(owner=owner).count()

    def refuse_if_held(self) -> None:
        from .holds import is_held

        if is_held(self):
            raise Held

    @transaction.atomic
    def restore(self) -> None:
        """Undo the deletion; what was stopped by it stays stopped."""
        self.lock()
        self.deleted_at = None
        self.save(update_fields=["deleted_at"])
        search.put_titles([self.pk])
        search.put_messages(self.messages.values_list("pk", flat=True))
        self.bump(sidebar=True)

    @transaction.atomic
    def pin(self, is_pinned: bool) -> None:
        """Keep it above all others, or no longer; raises Conflict where too many are already."""
        self.lock()
        if is_pinned == (self.pinned_at is not None):
            return
        pinned = Conversation.objects.alive().filter(owner=self.owner_id, pinned_at__isnull=False)
        if is_pinned and pinned.count() >= MAX_PINNED:
            raise Conflict
        self.pinned_at = timezone.now() if is_pinned else None
        self.save(update_fields=["pinned_at"])
        self._relist()

    @transaction.atomic
    def mark_read(self, version: int) -> None:
        """Its owner has seen it as it was at this version."""
        unread = Conversation.objects.filter(
            pk=self.pk, answered_version__gt=F("read_version"), answered_version__lte=version
        )
        if unread.update(read_version=version):
            self._relist()
        self.refresh_from_db(fields=["read_version"])

    def lock(self) -> None:
        """Make this row's transaction the only one that changes the conversation."""
        Conversation.objects.select_for_update().get(pk=self.pk)
        self.refresh_from_db()

    def bump(self, sidebar: bool = False, branch: bool = False) -> int:
        """Raise the version within the caller's transaction, ring after it; returns the version."""
        changes: dict[str, Any] = {"version": F("version") + 1}
        if branch:
            changes["branch_version"] = F("version") + 1
        Conversation.objects.filter(pk=self.pk).update(**changes)
        self.refresh_from_db(fields=["version", "branch_version"])
        if sidebar:
            self._relist()
        else:
            self._ring()
        return self.version

    def _relist(self) -> None:
        """Its line in the sidebar has changed: raise the owner's version, ring after it."""
        owner = self.owner.__class__.objects.filter(pk=self.owner_id)
        owner.update(version=F("version") + 1)
        Conversation.objects.filter(pk=self.pk).update(listed_version=owner.values("version"))
        self.refresh_from_db(fields=["listed_version"])
        self._ring()

    def _ring(self) -> None:
        bells.ring(bells.user_group(self.owner_id), conversation=self.pk)

    # --- the tree -----------------------------------------------------------------------------

    def branch(self) -> "MessageQuerySet":
        """The current branch from root to leaf. A child is always made after its parent."""
        return self.messages.filter(current=True, deleted_at=None).order_by("id")

    def _end_of_branch(self, within: UUID | None) -> "Message | None":
        """The last message of the branch on which message `within` lies, made current."""
        if within is None or self.leaf is None or self.leaf.uuid == within:
            return self.leaf
        message = self.messages.filter(uuid=within, deleted_at=None).first()
        if message is None or message.current:
            return self.leaf
        message.make_current()
        return self.leaf

    def way_to(self, message: "Message") -> list["Message"]:
        """From the root to this message, whether its branch is current or not."""
        tree, path = self._tree(), [message.pk]
        while above := tree[path[-1]].parent:
            path.append(above)
        rows = self.messages.in_bulk(path)
        return [rows[pk] for pk in reversed(path)]

    def set_path(self, leaf: "Message | None", version: int) -> None:
        """Make the way from the root to `leaf` the current branch."""
        tree = self._tree()
        path = [leaf.pk] if leaf else []
        while path and (above := tree[path[-1]].parent):
            path.append(above)
        on_path = set(path)
        was = set(self.messages.filter(current=True).values_list("id", flat=True))
        self.messages.filter(pk__in=was - on_path).update(current=False)
        self.messages.filter(pk__in=on_path - was).update(current=True, version=version)
        anew = [(p, c) for c, p in pairwise(path) if tree[p].chosen != c]
        Message.objects.bulk_update([Message(pk=p, chosen_id=c) for p, c in anew], ["chosen"], 500)
        self.leaf = leaf
        self.save(update_fields=["leaf"])

    def end_below(self, message: "Message | None") -> "Message | None":
        """The last message down the way from this one that was chosen last."""
        if message is None:
            return None
        tree, pk = self._tree(), message.pk
        while (chosen := tree[pk].chosen) in tree:
            pk = chosen
        return self.messages.get(pk=pk)

    def _tree(self) -> "dict[int | None, _Node]":
        """Every message that isn't deleted, by its key, in one query however many there are."""
        rows = self.messages.filter(deleted_at=None).values_list("id", "parent_id", "chosen_id")
        return {pk: _Node(parent, chosen) for pk, parent, chosen in rows}

    def _ask(self, leaf: "Message | None", text: str, model: str, gateway: Gateway) -> "Message":
        version = self.bump(sidebar=True)
        question = self._append(leaf, version, role=Message.Role.USER, text=text)
        search.put_messages([question.pk])
        reply = self._append(
            question,
            version,
            role=Message.Role.ASSISTANT,
            status=Message.Status.QUEUED,
            model=model,
            gateway=gateway,
        )
        self.active_at = timezone.now()
        self.save(update_fields=["leaf", "active_at"])
        waits_for = leaf if leaf is not None and leaf.is_open else None
        reply.queue("send", waits_for=waits_for)
        return reply

    def _append(self, parent: "Message | None", version: int, **fields: Any) -> "Message":
        message = Message.objects.create(
            conversation=self, parent=parent, current=True, version=version, **fields
        )
        if parent is not None:
            # Being no longer the last changes what may be done with it, so its version rises too.
            Message.objects.filter(pk=parent.pk).update(chosen=message, version=version)
        self.leaf = message
        return message


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
        ).prefetch_related("calls", models.Prefetch("pictures", Picture.objects.defer("content")))


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
        return conversation._ask(self.parent, text, model, gateway)

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
        tree = self.conversation._tree()
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


def title_from(text: str) -> str:
    """The first words of a question, on one line, cut at a word."""
    line = " ".join(text.split())
    if len(line) <= TITLE_CHARS:
        return line
    cut = line[:TITLE_CHARS].rpartition(" ")[0] or line[:TITLE_CHARS]
    return cut + "…"
