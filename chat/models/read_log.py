"""Who of the staff saw whose conversation: written before it is shown, changed by nobody after.

A row names people by keys and conversations by ids, holds no word of theirs, and outlives both. Of
somebody who is erased the name goes, the key stays.
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


def pseudonym(key: UUID) -> str:
    """What stands for a person where a name may not."""
    return key.hex[:8]


class ReadLog(models.Model):
    class What(models.TextChoices):
        TITLE = "title", _("the title, in a list")
        SNIPPET = "snippet", _("a passage, by search")
        TRANSCRIPT = "transcript", _("the whole conversation")
        REPLAY = "replay", _("a reply, played back")
        PICTURE = "picture", _("an image in a reply")
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
    def anonymise(cls, person: "User") -> int:
        """Take out an erased person's name and why they were read; how many rows had either."""
        by_them = cls.objects.filter(reader_key=person.key).exclude(reader=pseudonym(person.key))
        of_them = cls.objects.filter(owner_key=person.key).exclude(why="")
        return by_them.update(reader=pseudonym(person.key)) + of_them.update(why="")

    @classmethod
    def told(cls, owner: "User") -> dict[str, Any]:
        """{"times", "last"} at which staff read more of this person's than a title."""
        rows = cls.objects.filter(owner_key=owner.key).exclude(what=cls.What.TITLE)
        return rows.aggregate(times=models.Count("pk"), last=models.Max("at"))


_NAMES = ("id", "at", "reader_key", "what", "conversation", "owner_key")
_SAME = " AND ".join(f"NEW.{name} = OLD.{name}" for name in _NAMES)
_REFUSAL = "the read log is only added to"
# An erased person's name gives way to the key that stands beside it, and why they were read to
# nothing; who that key read, whom, when and what of it stays.
_ANONYMISED = (
    f"{_SAME} AND NEW.reader IN (OLD.reader, {{key}}) AND NEW.why IN (OLD.why, '')"
    " AND (NEW.reader != OLD.reader OR NEW.why != OLD.why)"
)
_SQLITE = [
    *(
        f"DROP TRIGGER IF EXISTS chat_readlog_{verb}"  # an older version's refused more
        for verb in ("update", "delete")
    ),
    "CREATE TRIGGER chat_readlog_update BEFORE UPDATE ON chat_readlog"
    f" WHEN NOT ({_ANONYMISED.format(key='substr(OLD.reader_key, 1, 8)')})"
    f" BEGIN SELECT RAISE(ABORT, '{_REFUSAL}'); END",
    "CREATE TRIGGER chat_readlog_delete BEFORE DELETE ON chat_readlog"
    f" BEGIN SELECT RAISE(ABORT, '{_REFUSAL}'); END",
]
_KEEP = """
    CREATE OR REPLACE FUNCTION chat_readlog_keep() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    IF TG_OP = 'UPDATE' AND {anonymised} THEN RETURN NEW; END IF;
    IF TG_OP != 'TRUNCATE' OR EXISTS (SELECT 1 FROM chat_readlog) THEN
    RAISE EXCEPTION '{refusal}'; END IF; RETURN NULL; END $$
"""
_POSTGRESQL = [
    _KEEP.format(
        anonymised=_ANONYMISED.format(key="left(OLD.reader_key::text, 8)"), refusal=_REFUSAL
    ),
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
