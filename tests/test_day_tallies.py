"""What days add up to: the same as their calls, whatever happens to a call and in whatever zone."""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from importlib import import_module

import pytest
from django.contrib.auth.models import Group
from django.core.management import CommandError, call_command
from django.db import connection
from django.db.models import Sum

from chat.models import Call, DayTally, FirstToken, User
from chat.models.budgets import Weight
from chat.models.calls import CallEnd
from chat.models.day_tallies import MAX_MS, cut
from tests.rows import answer, ask, gateway

pytestmark = pytest.mark.django_db
NOON = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
USED = {
    "prompt_tokens": 10,
    "completion_tokens": 20,
    "total_tokens": 30,
    "confidence": "exact",
    "cost_nano": 7,
    "currency": "USD",
    "cost_confidence": "exact",
}


def called(reply, began=NOON, waited_ms=None, **end):
    """A call for this reply that began then and has ended."""
    number = reply.generation.calls.count() + 1
    call = Call.begin(reply.generation, reply.gateway, reply.model, number)
    Call.objects.filter(pk=call.pk).update(started_at=began)
    if waited_ms is not None:
        end["first_delta_at"] = began + timedelta(milliseconds=waited_ms)
    Call.end(CallEnd(call.pk, **end))
    return call


def sums(**keys):
    row = DayTally.objects.get(**keys)
    return row.calls, row.counted, row.tokens, row.priced, row.cost_nano


def test_a_call_counts_once_however_often_it_ends_and_is_corrected():
    call = called(ask(), waited_ms=1_234, **USED)
    assert sums(day=date(2026, 3, 1)) == (1, 1, 30, 1, 7)
    end = CallEnd(call.pk, first_delta_at=NOON + timedelta(seconds=2), **USED)
    Call.end(end)
    Call.correct(replace(end, total_tokens=40, cost_nano=9))
    assert sums(day=date(2026, 3, 1)) == (1, 1, 40, 1, 9)
    assert [(row.ms, row.calls) for row in FirstToken.objects.exclude(calls=0)] == [(2_000, 1)]
    assert DayTally.differences() == 0


def test_a_late_figure_in_another_currency_moves_it():
    call = called(ask(), **USED)
    Call.correct(CallEnd(call.pk, **USED | {"currency": "RUB"}))
    assert sums(currency="RUB") == (1, 1, 30, 1, 7)
    assert sums(currency="USD") == (0, 0, 0, 0, 0)
    assert DayTally.differences() == 0


@pytest.mark.parametrize(
    ("zone", "day"), [("UTC", 1), ("Europe/Moscow", 2), ("America/New_York", 1)]
)
def test_a_day_is_one_of_the_installations_time_zone(settings, zone, day):
    settings.TIME_ZONE = zone
    called(ask(), began=datetime(2026, 3, 1, 22, 30, tzinfo=UTC))
    assert DayTally.objects.get().day == date(2026, 3, day)
    assert DayTally.differences() == 0


def test_after_a_change_of_the_time_zone_the_days_are_counted_anew(settings):
    settings.TIME_ZONE = "UTC"
    called(ask(), began=datetime(2026, 3, 1, 22, 30, tzinfo=UTC), waited_ms=5)
    settings.TIME_ZONE = "Asia/Vladivostok"
    with pytest.raises(CommandError, match="4 sums differ"):
        call_command("rebuild", check=True)
    call_command("rebuild")
    assert DayTally.objects.get().day == date(2026, 3, 2)


def test_what_a_day_tells_beside_money():
    reply = ask()
    # It waited 500 ms, then wrote 20 tokens until now.
    called(reply, waited_ms=500, **USED)
    called(reply, error_kind="server", waited_ms=250)
    called(reply, error_kind="connection")
    Call.end(
        CallEnd(
            Call.begin_check(reply.generation.user, reply.gateway, "m", Weight(1, 1)).pk, **USED
        )
    )
    facts = DayTally.objects.aggregate(
        *(Sum(name) for name in ("calls", "errors", "replies", "unknown", "timed_tokens"))
    )
    assert list(facts.values()) == [4, 2, 1, 1, 20]
    assert sorted(FirstToken.objects.values_list("ms", flat=True)) == [250, 500]
    assert DayTally.differences() == 0


def test_each_key_stands_apart():
    reply = ask()
    called(reply, **USED)
    called(reply, began=NOON + timedelta(days=1), **USED)
    reply.gateway = gateway("second")
    called(reply, **USED)
    reply.model = "another"
    called(reply, **USED)
    Call.end(
        CallEnd(
            Call.begin_title(reply.conversation, reply.gateway, "another", Weight(1, 1)).pk, **USED
        )
    )
    assert DayTally.objects.count() == 5
    assert DayTally.differences() == 0


def test_a_call_keeps_the_group_that_its_caller_was_in():
    reply = ask()
    person = User.objects.get()
    assert called(reply).user_group == ""
    person.groups.add(Group.objects.get(name="analyst"))
    assert called(reply).user_group == "analyst"
    sales = Group.objects.create(name="sales")
    person.groups.add(sales, Group.objects.create(name="later"))
    assert called(reply).user_group == "sales"
    sales.delete()
    assert called(reply).user_group == "later"
    groups = DayTally.objects.order_by("user_group").values_list("user_group", flat=True)
    assert list(groups) == ["", "analyst", "later", "sales"]


def test_sums_outlive_the_person():
    called(answer(ask()), **USED)
    User.objects.get().delete()
    assert sums() == (1, 1, 30, 1, 7)
    assert DayTally.differences() == 0


@pytest.mark.parametrize(
    ("ms", "kept"),
    [(0, 0), (7, 7), (99, 99), (100, 100), (109, 100), (1_234, 1_200), (99_999, 99_000)],
)
def test_a_wait_is_cut_to_two_digits(ms, kept):
    assert cut(ms) == kept
    called(ask(), waited_ms=ms)
    assert FirstToken.objects.get().ms == kept
    assert DayTally.differences() == 0


def test_a_wait_is_never_absurd():
    assert cut(MAX_MS) == cut(MAX_MS * 100) == MAX_MS
    # A clock that was set back, and one that was set to another year.
    called(ask(), waited_ms=-5_000)
    called(ask(), waited_ms=365 * 24 * 3600 * 1000)
    assert sorted(FirstToken.objects.values_list("ms", flat=True)) == [0, MAX_MS]
    assert DayTally.differences() == 0


def test_a_difference_is_seen_and_mended():
    called(ask(), waited_ms=40, **USED)
    DayTally.objects.update(cost_nano=8)
    FirstToken.objects.update(calls=3)
    with pytest.raises(CommandError, match="4 sums differ"):
        call_command("rebuild", check=True)
    call_command("rebuild")
    assert DayTally.differences() == 0
    assert sums() == (1, 1, 30, 1, 7)


def test_an_upgrade_counts_what_was_there_before(settings):
    settings.TIME_ZONE = "Europe/Moscow"
    reply = ask()
    called(reply, waited_ms=1_234, **USED)
    called(reply, began=NOON + timedelta(hours=11), waited_ms=123_456, total_tokens=5)
    called(reply, error_kind="server", waited_ms=12)
    for model in (DayTally, FirstToken):
        model.objects.all().delete()
    assert DayTally.differences() > 0
    migration = import_module("chat.migrations.0018_spending")
    migration.count(None, connection.schema_editor())
    assert DayTally.differences() == 0
