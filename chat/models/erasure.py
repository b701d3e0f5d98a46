"""Erasing a person: every row of theirs goes, what they used stays under a key, a receipt says so.

A receipt holds no word of theirs and, like the log of readings, is changed by nobody afterwards; only
that the files were clean may be added once. While a legal hold stands nobody is erased.
"""

from collections import Counter
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID

from django.contrib.admin.models import LogEntry
from django.db import models, transaction
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from . import erased, removal, residue
from .calls import Call
from .conversations import Held
from .generations import Generation
from .holds import Hold, alone
from .invitations import Invitation
from .logins import LoginAttempt
from .people import User
from .read_log import ReadLog, pseudonym
from .sessions import remove_sessions

if TYPE_CHECKING:
    from datetime import datetime


class LastOwner(Exception):
    """Somebody has to be able to do everything."""


class Backup(models.Model):
    """A backup that was made, or put back: what is erased afterwards is in it still."""

    path = models.TextField()
    made_at = models.DateTimeField()

    class Meta:
        ordering = ["-made_at"]

    def __str__(self) -> str:
        return self.path

    @classmethod
    def note(cls, path: Path, made_at: "datetime") -> None:
        cls.objects.get_or_create(path=str(path), made_at=made_at)

    @classmethod
    def since(cls, moment: "datetime") -> list[dict[str, Any]]:
        """[{"path", "made_at", "is_here"}], the newest first; one that isn't here may be elsewhere."""
        rows = cls.objects.filter(made_at__gte=moment).values_list("path", "made_at")
        return [
            {"path": path, "made_at": made_at.isoformat(), "is_here": Path(path).exists()}
            for path, made_at in rows
        ]


class Erasure(models.Model):
    """The receipt. `by_key` is NULL where it was done on the command line."""

    key = models.UUIDField(_("person"))
    at = models.DateTimeField(_("when"), default=timezone.now)
    by_key = models.UUIDField(null=True)
    # How many rows went, by table, and how many calls stay under the key.
    tables = models.JSONField(default=dict)
    calls = models.BigIntegerField(_("calls that stay"), default=0)
    backups = models.JSONField(default=list)
    # When the database's files held nothing of it any more, and what of them nobody here can tell.
    cleaned_at = models.DateTimeField(_("files clean"), null=True)
    residue = models.CharField(max_length=20, blank=True)

    class Meta:
        ordering = ["-id"]
        verbose_name = _("erasure")
        verbose_name_plural = _("erasures")

    def __str__(self) -> str:
        return f"{pseudonym(self.key)} {self.at:%Y-%m-%d}"

    @property
    def is_by_themselves(self) -> bool:
        return self.key == self.by_key

    @classmethod
    def clean_files(cls) -> None:
        """Have the files hold nothing of what was erased; of receipts that still wait for it."""
        waiting = cls.objects.filter(cleaned_at=None)
        if pks := list(waiting.values_list("pk", flat=True)):
            rest = residue.clean()
            waiting.filter(pk__in=pks).update(cleaned_at=timezone.now(), residue=rest)


def preview(person: User) -> dict[str, Any]:
    """What would go, and what stands against it."""
    return {
        "conversation_count": person.conversations.count(),
        "message_count": person.conversations.filter(messages__isnull=False)
        .values("messages")
        .count(),
        "call_count": Call.objects.filter(user_key=person.key).count(),
        "backups": Backup.since(person.date_joined),
        "holds": holds_on(person),
        "is_last_owner": is_last_owner(person),
    }


def holds_on(person: User) -> list[Hold]:
    on = models.Q(person=person) | models.Q(conversation__owner=person)
    return list(Hold.objects.standing().filter(on).select_related("placed_by"))


def is_last_owner(person: User) -> bool:
    owners = User.objects.filter(is_superuser=True, is_active=True)
    return person.is_superuser and not owners.exclude(pk=person.pk).exists()


def erase(person: User, by: User | None) -> Erasure:
    """Remove a person with all that is theirs; raises Held, LastOwner. The files are left as they are.

    In one transaction: they are there whole, or gone. Replies that run are stopped by it.
    """
    with alone():
        person = User.objects.select_for_update().get(pk=person.pk)
        if holds_on(person):
            raise Held
        if is_last_owner(person):
            raise LastOwner
        Generation.stop_all(Generation.objects.filter(user=person))
        gone = _remove(person)
        receipt = Erasure.objects.create(
            key=person.key,
            by_key=by.key if by else None,
            tables={name: n for name, n in sorted(gone.items()) if n},
            calls=Call.objects.filter(user_key=person.key).count(),
            backups=Backup.since(person.date_joined),
        )
        # The receipt says it as well; should the file not be writable, that is logged.
        transaction.on_commit(partial(erased.add, [receipt.key]), robust=True)
        return receipt


def erase_again(keys: Iterable[UUID]) -> tuple[list[Erasure], list[str]]:
    """Of those who were erased, whoever is there again after a restore: receipts, who had to stay."""
    receipts, stayed = [], []
    for person in User.objects.filter(key__in=keys).order_by("pk"):
        try:
            receipts.append(erase(person, by=None))
        except (Held, LastOwner):
            stayed.append(person.username)
    return receipts, stayed


def _remove(person: User) -> Counter[str]:
    gone: Counter[str] = Counter()
    theirs = person.conversations.order_by("pk").values_list("pk", flat=True)
    while batch := list(theirs[: removal.BATCH]):
        gone += removal.remove(batch)
    Call.objects.filter(user_key=person.key).exclude(error_message="").update(error_message="")
    gone["sessions.Session"] = remove_sessions(person)
    gone["chat.LoginAttempt"] = LoginAttempt.forget(person.username)
    # It says for whom it was.
    gone += Counter(Invitation.objects.filter(used_by=person).delete()[1])
    # What staff did to their account stays, told of a key.
    entries = LogEntry.objects.filter(
        content_type__app_label="chat", content_type__model="user", object_id=str(person.pk)
    )
    entries.update(object_repr=pseudonym(person.key))
    ReadLog.anonymise(person)
    return gone + Counter(person.delete()[1])


_SQLITE = [
    "CREATE TRIGGER IF NOT EXISTS chat_erasure_update BEFORE UPDATE ON chat_erasure"
    " WHEN NOT (OLD.cleaned_at IS NULL AND {same})"
    " BEGIN SELECT RAISE(ABORT, 'a receipt stays as it is'); END",
    "CREATE TRIGGER IF NOT EXISTS chat_erasure_delete BEFORE DELETE ON chat_erasure"
    " BEGIN SELECT RAISE(ABORT, 'a receipt stays as it is'); END",
]
_POSTGRESQL = [
    "CREATE OR REPLACE FUNCTION chat_erasure_keep() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
    " IF TG_OP = 'UPDATE' AND OLD.cleaned_at IS NULL AND {same} THEN RETURN NEW; END IF;"
    " IF TG_OP != 'TRUNCATE' OR EXISTS (SELECT 1 FROM chat_erasure) THEN"
    " RAISE EXCEPTION 'a receipt stays as it is'; END IF; RETURN NULL; END $$",
    "CREATE OR REPLACE TRIGGER chat_erasure_rows BEFORE UPDATE OR DELETE ON chat_erasure"
    " FOR EACH ROW EXECUTE FUNCTION chat_erasure_keep()",
    "CREATE OR REPLACE TRIGGER chat_erasure_table BEFORE TRUNCATE ON chat_erasure"
    " FOR EACH STATEMENT EXECUTE FUNCTION chat_erasure_keep()",
]
_FIXED = ("id", "key", "at", "by_key", "tables", "calls", "backups")


def install(connection: Any) -> None:
    """Have the database itself refuse to change or remove a receipt."""
    is_postgresql = connection.vendor == "postgresql"
    equal = "IS NOT DISTINCT FROM" if is_postgresql else "IS"
    same = " AND ".join(f"NEW.{name} {equal} OLD.{name}" for name in _FIXED)
    with connection.cursor() as cursor:
        for statement in _POSTGRESQL if is_postgresql else _SQLITE:
            cursor.execute(statement.replace("{same}", same))
