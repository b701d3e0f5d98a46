"""Conversations and their messages: a tree, of which one branch from root to leaf is current.

Every visible change raises the conversation's version in its own transaction, and each message keeps
the version that changed it last; so 'what is new since version N' has one answer for page and socket.
"""

from collections.abc import Iterable
from datetime import timedelta
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple, Self
from uuid import UUID, uuid4

from django.conf import settings
from django.db import connection, models, transaction
from django.db.models import F
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from chat.addresses import address
from chat.rendering.hidden import revealed

from . import bells, search
from .gateways import Gateway
from .parameters import NONE, Asked

if TYPE_CHECKING:
    from .messages import Message, MessageQuerySet
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
        return self.shown_title

    def get_absolute_url(self) -> str:
        return address("conversation", self.uuid)

    @property
    def shown_title(self) -> str:
        """The title with whatever is hidden in it made visible: everywhere but where it is changed."""
        return revealed(self.title)

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
        return conversation.put_question(None, text, model, gateway)

    @transaction.atomic
    def send(
        self, text: str, model: str, gateway: Gateway, parent: UUID | None = None
    ) -> "Message":
        """Record a question and its queued reply at the end of a branch; returns the reply.

        `parent` is the last message that the sender's page shows: the end of its branch is meant.
        """
        self.lock()
        leaf = self._end_of_branch(parent)
        return self.put_question(leaf, text, model, gateway)

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
        self.refresh_from_db(from_queryset=Conversation.objects.select_for_update())

    @classmethod
    def keep_from_others(cls, pks: "Iterable[int] | models.QuerySet[Any]") -> None:
        """Make the caller's transaction the only one that changes these; SQLite's always is."""
        if connection.features.has_select_for_update:
            rows = cls.objects.select_for_update(no_key=True).filter(pk__in=pks).order_by("pk")
            list(rows.values_list("pk"))

    def bump(self, sidebar: bool = False, branch: bool = False) -> int:
        """Raise the version within the caller's transaction, ring after it; returns the version."""
        # Written statements: with each question, claim and end, made anew they cost more than they do.
        branch_version = "version + 1" if branch else "branch_version"
        self.version, self.branch_version = self._returned(
            f"UPDATE chat_conversation SET version = version + 1, branch_version = {branch_version}"  # noqa: S608
            " WHERE id = %s RETURNING version, branch_version",
            self.pk,
        )
        if sidebar:
            self._relist()
        else:
            self._ring()
        return self.version

    def _relist(self) -> None:
        """Its line in the sidebar has changed: raise the owner's version, ring after it."""
        (version,) = self._returned(
            "UPDATE chat_user SET version = version + 1 WHERE id = %s RETURNING version",
            self.owner_id,
        )
        (self.listed_version,) = self._returned(
            "UPDATE chat_conversation SET listed_version = %s WHERE id = %s RETURNING listed_version",
            version,
            self.pk,
        )
        self._ring()

    def _returned(self, sql: str, *values: int) -> tuple[int, ...]:
        with connection.cursor() as cursor:
            cursor.execute(sql, values)
            row: tuple[int, ...] | None = cursor.fetchone()
        if row is None:
            raise self.DoesNotExist
        return row

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
        tree, path = self.tree(), [message.pk]
        while above := tree[path[-1]].parent:
            path.append(above)
        rows = self.messages.in_bulk(path)
        return [rows[pk] for pk in reversed(path)]

    def set_path(self, leaf: "Message | None", version: int) -> None:
        """Make the way from the root to `leaf` the current branch."""
        from .messages import Message

        tree = self.tree()
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
        tree, pk = self.tree(), message.pk
        while (chosen := tree[pk].chosen) in tree:
            pk = chosen
        return self.messages.get(pk=pk)

    def tree(self) -> "dict[int | None, _Node]":
        """Every message that isn't deleted, by its key, in one query however many there are."""
        rows = self.messages.filter(deleted_at=None).values_list("id", "parent_id", "chosen_id")
        return {pk: _Node(parent, chosen) for pk, parent, chosen in rows}

    def put_question(
        self, leaf: "Message | None", text: str, model: str, gateway: Gateway
    ) -> "Message":
        from .messages import Message

        version = self.bump(sidebar=True)
        question = self._append(leaf, version, role=Message.Role.USER, text=text)
        search.put_new(question)
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
        from .messages import Message

        message = Message.objects.create(
            conversation=self, parent=parent, current=True, version=version, **fields
        )
        if parent is not None:
            # Being no longer the last changes what may be done with it, so its version rises too.
            Message.objects.filter(pk=parent.pk).update(chosen=message, version=version)
        self.leaf = message
        return message


def title_from(text: str) -> str:
    """The first words of a question, on one line, cut at a word."""
    line = " ".join(text.split())
    if len(line) <= TITLE_CHARS:
        return line
    cut = line[:TITLE_CHARS].rpartition(" ")[0] or line[:TITLE_CHARS]
    return cut + "…"
