"""What the calls of a day add up to, so that no page about spending has to add up calls.

Like a `Tally` it changes in the transaction that ends or corrects a call, by the difference that this
makes, and names people by keys: it outlives them. A call counts on the day on which it began, in the
time zone of the installation; after that has changed, `manage.py rebuild` counts anew.
"""

from collections.abc import Mapping, Sequence
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.db import connection, models, transaction
from django.utils import timezone

from .gateways import MAX_MODEL_NAME
from .tallies import SUMS, counts

if TYPE_CHECKING:
    from .calls import Call

_MS = timedelta(milliseconds=1)
# Ten hours and more are told as ten hours.
MAX_MS = 36_000_000
_TIMED = "c.purpose = 'reply' AND c.completion_tokens IS NOT NULL AND {took} > 0"


class DayTally(models.Model):
    """The ended calls of a day that agree in everything by which spending is looked at."""

    KEYS = ("day", "user_key", "user_group", "gateway_slug", "model", "purpose", "currency")

    day = models.DateField()
    user_key = models.UUIDField()
    user_group = models.CharField(max_length=150, blank=True)
    gateway_slug = models.CharField(max_length=50)
    model = models.CharField(max_length=MAX_MODEL_NAME)
    purpose = models.CharField(max_length=10)
    currency = models.CharField(max_length=3, blank=True)
    # As in a Tally.
    calls = models.BigIntegerField(default=0)
    counted = models.BigIntegerField(default=0)
    tokens = models.BigIntegerField(default=0)
    priced = models.BigIntegerField(default=0)
    cost_nano = models.BigIntegerField(default=0)
    estimated = models.BigIntegerField(default=0)
    unknown = models.BigIntegerField(default=0)
    estimated_cost = models.BigIntegerField(default=0)
    unknown_cost = models.BigIntegerField(default=0)
    # Replies that began; of a reply that was tried again the first call counts.
    replies = models.BigIntegerField(default=0)
    errors = models.BigIntegerField(default=0)
    # From first words to the end, and the tokens that came meanwhile: of replies that tell both.
    timed_ms = models.BigIntegerField(default=0)
    timed_tokens = models.BigIntegerField(default=0)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=[
                    *("day", "user_key", "user_group", "gateway_slug"),
                    *("model", "purpose", "currency"),
                ],
                name="day_tally_once",
            )
        ]
        indexes = [models.Index(fields=["user_key", "day"], name="day_tally_user")]

    def __str__(self) -> str:
        return f"{self.day} {self.gateway_slug} {self.model} {self.currency}"

    @classmethod
    def follow(cls, before: "Call", after: "Call") -> None:
        """Take out what a call counted for and put in what it does now, in the caller's transaction."""
        for call, sign in ((before, -1), (after, 1)):
            if call.ended_at is not None:
                keys = {name: getattr(call, name) for name in cls.KEYS if name != "day"}
                _add(cls, {"day": day_of(call.started_at), **keys}, _counts(call), sign)
        FirstToken.follow(before, after)

    @classmethod
    @transaction.atomic
    def rebuild(cls) -> None:
        """Count all calls anew."""
        for model in (cls, FirstToken):
            _fill_anew(model)

    @classmethod
    def differences(cls) -> int:
        """How many rows are not what the calls say; an empty one says nothing."""
        return sum(map(_differences, (cls, FirstToken)))

    @classmethod
    def from_calls(cls) -> str:
        """What all rows must be, as the calls have it."""
        took = _ms("c.ended_at", "c.first_delta_at")
        is_timed = _TIMED.format(took=took)
        sums = {
            **SUMS,
            "replies": "SUM(CASE WHEN c.purpose = 'reply' AND c.attempt = 1 THEN 1 ELSE 0 END)",
            "errors": "SUM(CASE WHEN c.error_kind != '' THEN 1 ELSE 0 END)",
            "timed_ms": f"SUM(CASE WHEN {is_timed} THEN {took} ELSE 0 END)",
            "timed_tokens": f"SUM(CASE WHEN {is_timed} THEN c.completion_tokens ELSE 0 END)",
        }
        return _grouped(cls, {"day": _day()}, sums, "c.ended_at IS NOT NULL")


class FirstToken(models.Model):
    """How many replies of a day began to come after so many milliseconds.

    The milliseconds are cut to their first two digits: within a tenth of the truth at worst, and few
    enough that percentiles of a month are found in them at once.
    """

    KEYS = ("day", "gateway_slug", "model", "ms")

    day = models.DateField()
    gateway_slug = models.CharField(max_length=50)
    model = models.CharField(max_length=MAX_MODEL_NAME)
    ms = models.PositiveIntegerField()
    calls = models.BigIntegerField(default=0)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["day", "gateway_slug", "model", "ms"], name="first_token_once"
            )
        ]

    def __str__(self) -> str:
        return f"{self.day} {self.gateway_slug} {self.model} {self.ms} ms: {self.calls}"

    @classmethod
    def follow(cls, before: "Call", after: "Call") -> None:
        for call, sign in ((before, -1), (after, 1)):
            if call.ended_at and call.first_delta_at and call.purpose == "reply":
                waited = cut(_took(call.started_at, call.first_delta_at))
                keys = (day_of(call.started_at), call.gateway_slug, call.model, waited)
                _add(cls, dict(zip(cls.KEYS, keys, strict=True)), {"calls": 1}, sign)

    @classmethod
    def percentiles(
        cls, first: date, last: date, shares: Sequence[int], **only: str
    ) -> dict[tuple[str, str], list[int]]:
        """By gateway and model, the milliseconds in which so many of a hundred replies had begun.

        `only`: values that columns must have.
        """
        days = [connection.ops.adapt_datefield_value(day) for day in (first, last)]
        which = " AND ".join(["day BETWEEN %s AND %s", *(f"{name} = %s" for name in only)])
        found = ", ".join(
            f"MIN(CASE WHEN below * 100 >= everything * {int(share)} THEN ms END)"
            for share in shares
        )
        with connection.cursor() as cursor:
            cursor.execute(
                f"""
                WITH waits AS (
                    SELECT gateway_slug, model, ms, SUM(calls) AS calls FROM chat_firsttoken
                    WHERE calls > 0 AND {which} GROUP BY gateway_slug, model, ms
                ), running AS (
                    SELECT gateway_slug, model, ms,
                    SUM(calls) OVER (PARTITION BY gateway_slug, model ORDER BY ms) AS below,
                    SUM(calls) OVER (PARTITION BY gateway_slug, model) AS everything FROM waits
                )
                SELECT gateway_slug, model, {found} FROM running GROUP BY gateway_slug, model
                """,  # noqa: S608
                [*days, *only.values()],
            )
            return {(gateway, model): found for gateway, model, *found in cursor.fetchall()}

    @classmethod
    def from_calls(cls) -> str:
        least = "MIN" if connection.vendor == "sqlite" else "LEAST"
        waited = f"{least}({_ms('c.first_delta_at', 'c.started_at')}, {MAX_MS})"
        steps = [10**power for power in range(len(str(MAX_MS)) - 1)]
        cuts = [f"WHEN {waited} < {step * 100} THEN {waited} / {step} * {step}" for step in steps]
        return _grouped(
            cls,
            {"day": _day(), "ms": f"CASE {' '.join(cuts)} END"},
            {"calls": "COUNT(*)"},
            "c.ended_at IS NOT NULL AND c.first_delta_at IS NOT NULL AND c.purpose = 'reply'",
        )


def day_of(moment: datetime) -> date:
    return timezone.localtime(moment, timezone.get_default_timezone()).date()


def cut(ms: int) -> int:
    """The first two digits of so many milliseconds, and noughts."""
    step = 10 ** max(0, len(str(min(ms, MAX_MS))) - 2)
    return min(ms, MAX_MS) // step * step


def _took(start: datetime, end: datetime) -> int:
    """Milliseconds; a clock that was set back makes them none."""
    return max(0, (end - start) // _MS)


def _counts(call: "Call") -> dict[str, int]:
    """What one ended call counts for in each sum."""
    took = _took(call.first_delta_at, call.ended_at) if call.first_delta_at else 0
    is_reply = call.purpose == "reply"
    is_timed = is_reply and call.completion_tokens is not None and took > 0
    return counts(call) | {
        "replies": int(is_reply and call.attempt == 1),
        "errors": int(call.error_kind != ""),
        "timed_ms": took if is_timed else 0,
        "timed_tokens": call.completion_tokens if is_timed else 0,
    }


def _add(
    model: type[models.Model], keys: Mapping[str, Any], changes: Mapping[str, int], sign: int
) -> None:
    """Add to the row of these keys, which is made if need be, in one statement."""
    table, fields = model._meta.db_table, model._meta.get_field
    sums = {field.name: 0 for field in model._meta.concrete_fields if field.default == 0}
    row = {**sums, **keys, **{name: sign * value for name, value in changes.items()}}
    values = [fields(name).get_db_prep_save(value, connection) for name, value in row.items()]
    added = ", ".join(f"{name} = {table}.{name} + excluded.{name}" for name in changes)
    with connection.cursor() as cursor:
        cursor.execute(
            f"INSERT INTO {table} ({', '.join(row)}) VALUES ({', '.join(['%s'] * len(row))})"  # noqa: S608
            f" ON CONFLICT ({', '.join(keys)}) DO UPDATE SET {added}",
            values,
        )


# --- counting anew --------------------------------------------------------------------------------


def _grouped(model: Any, keys: Mapping[str, str], sums: Mapping[str, str], which: str) -> str:
    """A query of calls with the columns of this table; `keys` are those that aren't a call's own."""
    columns = [f"{keys.get(name, f'c.{name}')} AS {name}" for name in model.KEYS]
    columns += [f"{sum_} AS {name}" for name, sum_ in sums.items()]
    by = ", ".join(str(number) for number in range(1, len(model.KEYS) + 1))
    return f"SELECT {', '.join(columns)} FROM chat_call c WHERE {which} GROUP BY {by}"  # noqa: S608


def _columns(model: type[models.Model]) -> str:
    return ", ".join(field.name for field in model._meta.concrete_fields if field.name != "id")


def _fill_anew(model: Any) -> None:
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            # Whoever has ended a call and not yet committed is waited for, others wait for us.
            cursor.execute(f"LOCK TABLE {model._meta.db_table} IN EXCLUSIVE MODE")
        cursor.execute(f"DELETE FROM {model._meta.db_table}")  # noqa: S608
        cursor.execute(
            f"INSERT INTO {model._meta.db_table} ({_columns(model)}) {model.from_calls()}"
        )


def _differences(model: Any) -> int:
    kept = f"SELECT {_columns(model)} FROM {model._meta.db_table} WHERE calls != 0"  # noqa: S608
    found = 0
    with connection.cursor() as cursor:
        for one, other in ((kept, model.from_calls()), (model.from_calls(), kept)):
            cursor.execute(
                f"SELECT COUNT(*) FROM (SELECT * FROM ({one}) o EXCEPT SELECT * FROM ({other}) p) d"  # noqa: S608
            )
            found += int(cursor.fetchone()[0])
    return found


def _day() -> str:
    """The day on which a call began, in SQL."""
    zone = settings.TIME_ZONE.replace("'", "")
    if connection.vendor == "postgresql":
        return f"(c.started_at AT TIME ZONE '{zone}')::date"
    return f"django_datetime_cast_date(c.started_at, '{zone}', 'UTC')"


def _ms(end: str, start: str) -> str:
    """Milliseconds between two columns, in SQL, as `_took` has them; NULL where one is."""
    if connection.vendor == "postgresql":
        return f"GREATEST(0, FLOOR(EXTRACT(EPOCH FROM ({end} - {start})) * 1000)::bigint)"
    return f"MAX(0, django_timestamp_diff({end}, {start}) / 1000)"
