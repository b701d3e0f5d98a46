"""Who of the staff saw whose conversation: written before it is shown, changed by nobody after.

A row names people by keys and conversations by ids, holds no word of theirs, and outlives both.
"""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, NamedTuple
from uuid import UUID

from django.db import models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

if TYPE_CHECKING:
    from .people import User

MAX_WHY_CHARS = 200


class Seen(NamedTuple):
    conversation: UUID
    owner_key: UUID


class ReadLog(models.Model):
    class What(models.TextChoices):
        TITLE = "title", _("the title, in a list")
        SNIPPET = "snippet", _("a passage, by search")
        TRANSCRIPT = "transcript", _("the whole conversation")
        CALL = "call", _("a call with its words")
        FEEDBACK = "feedback", _("a reply with its feedback")
        EXPORT = "export", _("an export")

    at = models.DateTimeField(_("when"), default=timezone.now)
    reader_key = models.UUIDField()
    reader = models.CharField(_("who"), max_length=150)
    what = models.CharField(_("what"), max_length=12, choices=What)
    conversation = models.UUIDField(_("conversation"))
    owner_key = models.UUIDField()
    why = models.CharField(_("why"), max_length=MAX_WHY_CHARS, blank=True)

    class Meta:
        ordering = ["-id"]
        indexes = [
            models.Index(fields=["owner_key", "-id"], name="read_log_owner"),
            models.Index(fields=["conversation", "-id"], name="read_log_conversation"),
        ]
        verbose_name = _("reading")
        verbose_name_plural = _("readings")

    def __str__(self) -> str:
        return f"{self.reader} {self.at:%Y-%m-%d %H:%M}"

    @classmethod
    def note(cls, reader: "User", what: str, seen: Iterable[Seen], why: str = "") -> None:
        """One row for each conversation of somebody else's."""
        facts = {"reader_key": reader.key, "reader": reader.username, "what": what}
        cls.objects.bulk_create(
            [
                cls(**facts, why=why[:MAX_WHY_CHARS], **each._asdict())
                for each in seen
                if each.owner_key != reader.key
            ]
        )

    @classmethod
    def told(cls, owner: "User") -> dict[str, Any]:
        """{"times", "last"} at which staff read more of this person's than a title."""
        rows = cls.objects.filter(owner_key=owner.key).exclude(what=cls.What.TITLE)
        return rows.aggregate(times=models.Count("pk"), last=models.Max("at"))


_SQLITE = [
    f"CREATE TRIGGER IF NOT EXISTS chat_readlog_{verb} BEFORE {verb} ON chat_readlog"
    " BEGIN SELECT RAISE(ABORT, 'the read log is only added to'); END"
    for verb in ("update", "delete")
]
_POSTGRESQL = [
    "CREATE OR REPLACE FUNCTION chat_readlog_keep() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
    " IF TG_OP != 'TRUNCATE' OR EXISTS (SELECT 1 FROM chat_readlog) THEN"
    " RAISE EXCEPTION 'the read log is only added to'; END IF; RETURN NULL; END $$",
    "CREATE OR REPLACE TRIGGER chat_readlog_rows BEFORE UPDATE OR DELETE ON chat_readlog"
    " FOR EACH ROW EXECUTE FUNCTION chat_readlog_keep()",
    "CREATE OR REPLACE TRIGGER chat_readlog_table BEFORE TRUNCATE ON chat_readlog"
    " FOR EACH STATEMENT EXECUTE FUNCTION chat_readlog_keep()",
]


def install(connection: Any) -> None:
    """Have the database itself refuse to change or remove a row."""
    is_postgresql = connection.vendor == "postgresql"
    with connection.cursor() as cursor:
        for statement in _POSTGRESQL if is_postgresql else _SQLITE:
            cursor.execute(statement)
