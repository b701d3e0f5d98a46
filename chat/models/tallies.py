"""What the calls of a conversation add up to, so that no list of conversations has to add.

A tally changes in the transaction that ends or corrects a call, by the difference that this makes.
"""

from typing import TYPE_CHECKING, Any

from django.db import connection, models, transaction
from django.db.models import F

from .conversations import Conversation
from .gateways import MAX_MODEL_NAME
from .messages import Message

if TYPE_CHECKING:
    from .calls import Call

_KEYS = ("gateway_slug", "model", "currency")
# Of a call that failed before anything came, no usage was to be expected.
_USED = "(c.error_kind = '' OR c.first_delta_at IS NOT NULL)"
# What ended calls `c` count for, added up.
SUMS = {
    "calls": "COUNT(*)",
    "counted": "COUNT(c.total_tokens)",
    "tokens": "COALESCE(SUM(c.total_tokens), 0)",
    "priced": "COUNT(c.cost_nano)",
    "cost_nano": "COALESCE(SUM(c.cost_nano), 0)",
    "estimated": "SUM(CASE WHEN c.confidence = 'estimated' THEN 1 ELSE 0 END)",
    "unknown": f"SUM(CASE WHEN {_USED} AND c.total_tokens IS NULL THEN 1 ELSE 0 END)",
    "estimated_cost": "SUM(CASE WHEN c.cost_confidence = 'estimated' THEN 1 ELSE 0 END)",
    "unknown_cost": f"SUM(CASE WHEN {_USED} AND c.cost_nano IS NULL THEN 1 ELSE 0 END)",
}
# The conversation of a call for a reply, and of one for its title.
_OF = "COALESCE(m.conversation_id, c.conversation_id)"
# What all tallies must be, as the calls have it.
_FROM_CALLS = f"""
    SELECT {_OF}, c.gateway_slug, c.model, c.currency, {", ".join(SUMS.values())}
    FROM chat_call c LEFT JOIN chat_message m ON m.id = c.message_id
    WHERE c.ended_at IS NOT NULL AND {_OF} IS NOT NULL
    GROUP BY {_OF}, c.gateway_slug, c.model, c.currency
"""  # noqa: S608
_COLUMNS = ", ".join(("conversation_id", *_KEYS, *SUMS))
# Each value of a column that has an index, from one to the next: DISTINCT reads all rows there are.
_EACH = """
    WITH RECURSIVE found(value) AS (
        SELECT MIN({column}) FROM chat_tally
        UNION ALL
        SELECT (SELECT MIN({column}) FROM chat_tally WHERE {column} > value)
        FROM found WHERE value IS NOT NULL
    )
    SELECT value FROM found WHERE value IS NOT NULL
"""


class Tally(models.Model):
    """The ended calls of a conversation to one model of one gateway, in one currency.

    Those that wrote its title count as well, as they do in what its owner is shown.
    """

    conversation = models.ForeignKey(Conversation, models.CASCADE, related_name="tallies")
    gateway_slug = models.CharField(max_length=50)
    model = models.CharField(max_length=MAX_MODEL_NAME)
    currency = models.CharField(max_length=3, blank=True)
    calls = models.BigIntegerField(default=0)
    # Of `counted` calls the tokens are known, of `priced` ones the cost; both may be estimated.
    counted = models.BigIntegerField(default=0)
    tokens = models.BigIntegerField(default=0)
    priced = models.BigIntegerField(default=0)
    cost_nano = models.BigIntegerField(default=0)
    estimated = models.BigIntegerField(default=0)
    unknown = models.BigIntegerField(default=0)
    estimated_cost = models.BigIntegerField(default=0)
    unknown_cost = models.BigIntegerField(default=0)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["conversation", *_KEYS], name="tally_once")]
        indexes = [
            models.Index(fields=["model"], name="tally_model"),
            models.Index(fields=["currency"], name="tally_currency"),
        ]

    def __str__(self) -> str:
        return f"{self.conversation_id} {self.gateway_slug} {self.model} {self.currency}"

    @classmethod
    def follow(cls, before: "Call", after: "Call") -> None:
        """Take out what a call counted for and put in what it does now, in the caller's transaction."""
        messages = Message.objects.filter(pk=after.message_id)
        conversation = messages.values_list("conversation", flat=True).first()
        conversation = conversation or after.conversation_id
        if conversation is None:
            return
        if before.ended_at is not None:
            cls._add(conversation, before, -1)
        cls._add(conversation, after, 1)

    @classmethod
    def _add(cls, conversation: int, call: "Call", sign: int) -> None:
        keys = {name: getattr(call, name) for name in _KEYS}
        row, _is_new = cls.objects.get_or_create(conversation_id=conversation, **keys)
        changes = {name: F(name) + sign * value for name, value in counts(call).items() if value}
        cls.objects.filter(pk=row.pk).update(**changes)

    @classmethod
    def model_names(cls) -> list[str]:
        return cls._each("model")

    @classmethod
    def currencies(cls) -> list[str]:
        return cls._each("currency")

    @classmethod
    def _each(cls, column: str) -> list[str]:
        with connection.cursor() as cursor:
            cursor.execute(_EACH.format(column=column))
            return [value for (value,) in cursor.fetchall()]

    @classmethod
    @transaction.atomic
    def rebuild(cls) -> None:
        """Count all calls anew."""
        cls.objects.all().delete()
        with connection.cursor() as cursor:
            cursor.execute(f"INSERT INTO chat_tally ({_COLUMNS}) {_FROM_CALLS}")

    @classmethod
    def differences(cls) -> int:
        """How many tallies are not what the calls say; an empty one says nothing."""
        kept = f"SELECT {_COLUMNS} FROM chat_tally WHERE calls != 0"  # noqa: S608
        with connection.cursor() as cursor:
            cursor.execute(
                f"SELECT COUNT(*) FROM (SELECT * FROM ({kept}) k EXCEPT {_FROM_CALLS}) wrong"  # noqa: S608
            )
            wrong = cursor.fetchone()[0]
            cursor.execute(
                f"SELECT COUNT(*) FROM (SELECT * FROM ({_FROM_CALLS}) c EXCEPT {kept}) missing"  # noqa: S608
            )
            return int(wrong) + int(cursor.fetchone()[0])


def counts(call: "Call") -> dict[str, Any]:
    """What one ended call counts for in each sum."""
    used = call.error_kind == "" or call.first_delta_at is not None
    return {
        "calls": 1,
        "counted": int(call.total_tokens is not None),
        "tokens": call.total_tokens or 0,
        "priced": int(call.cost_nano is not None),
        "cost_nano": call.cost_nano or 0,
        "estimated": int(call.confidence == "estimated"),
        "unknown": int(used and call.total_tokens is None),
        "estimated_cost": int(call.cost_confidence == "estimated"),
        "unknown_cost": int(used and call.cost_nano is None),
    }
