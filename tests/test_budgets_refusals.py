"""Budgets: what is refused before a call, until when, and how often a person may ask at all."""

from dataclasses import asdict
from datetime import UTC, date, datetime
from zoneinfo import ZoneInfo

import pytest
from django.contrib.auth.models import Group
from django.utils import timezone

from chat.models import Allowance, Budget, Call, Charge, Generation, Price
from chat.models.allowances import LEAST_REPLY_TOKENS
from chat.models.budgets import Refusal, Weight
from chat.models.generations import TooManyRequests
from tests.charges import (
    USED,
    ann,
    asked_by,
    begin,
    budget,
    claim,
    end,
    figures,
    price,
    weighing,
    with_margin,
)
from tests.rows import ask, fresh, person

__all__ = ["price"]
pytestmark = pytest.mark.django_db


# --- refused --------------------------------------------------------------------------------------


def test_a_queued_reply_that_cannot_be_paid_ends_before_a_call_and_the_next_has_its_turn():
    budget(50, user=ann(), contact="Ann at the desk")
    refused = ask("Mine")
    other = asked_by(person("bob"))
    assert claim().message_id == other.pk
    reply = fresh(refused)
    assert (reply.status, reply.generation.error_kind) == ("failed", "budget")
    assert not Call.objects.exists()
    found = Refusal(**reply.generation.refusal)
    assert (found.reason, found.scope, found.limit, found.currency) == ("limit", "user", 50, "RUB")
    assert found.contact == "Ann at the desk"
    assert found.resets_at > timezone.now()
    assert reply.can_retry


def test_a_reply_is_kept_as_short_as_the_budget_can_pay():
    budget(with_margin(10) + LEAST_REPLY_TOKENS)
    ask()
    running = claim(prompt=10, reply=5000)
    assert running.allowed_tokens == LEAST_REPLY_TOKENS
    row = Generation.objects.get(pk=running.pk)
    assert (row.is_charged, row.allowed_tokens) == (True, LEAST_REPLY_TOKENS)


def test_a_reply_that_is_bounded_anyway_is_asked_for_as_it_was():
    budget(100_000)
    ask()
    running = Generation.claim("here", weigh=weighing(10, 100, bounded=True))
    assert running.allowed_tokens is None
    assert running.is_charged


def test_a_soft_budget_refuses_nothing_and_bounds_nothing():
    everybody = budget(1, is_hard=False)
    ask()
    running = claim(prompt=10, reply=5000)
    assert running.allowed_tokens is None
    end(running, begin(running), **USED)
    assert figures(everybody) == (7, 0, 30, 0)


def test_a_hard_money_budget_refuses_a_model_without_a_price_and_one_of_tokens_does_not():
    Price.objects.all().delete()
    everybody = budget(1000)
    refused = ask()
    assert claim() is None
    assert Refusal(**fresh(refused).generation.refusal).reason == "price"
    everybody.delete()
    budget(tokens=1000)
    ask()
    assert claim() is not None


def test_a_price_in_another_currency_is_no_price():
    Price.objects.update(currency="USD")
    budget(1000)
    refused = ask()
    assert claim() is None
    assert fresh(refused).generation.error_reason == "price"


def test_a_free_model_needs_a_price_of_nothing():
    Price.objects.update(prompt=0, completion=0)
    budget(0)
    ask()
    assert claim() is not None


@pytest.mark.parametrize("of_each", [True, False])
def test_a_groups_budget_is_shared_or_each_members(of_each):
    group = Group.objects.create(name="sales")
    people = [ann(), person("bob")]
    for each in people:
        each.groups.add(group)
    budget(with_margin(10) + 100, group=group, is_each=of_each)
    for each in people:
        asked_by(each)
    first, second = claim(), claim()
    assert first is not None
    assert (second is not None) == of_each
    assert Allowance.objects.count() == (2 if of_each else 1)


def test_who_is_not_of_the_group_is_not_bound_by_it():
    budget(0, group=Group.objects.create(name="sales"))
    ask()
    running = claim()
    assert running is not None
    assert not running.is_charged


def test_the_narrowest_of_several_budgets_decides():
    budget(100_000, period="month")
    budget(100, period="day", user=ann())
    ask()
    assert claim(prompt=10, reply=1000) is None
    assert not Charge.objects.exists()
    assert {row.held_nano for row in Allowance.objects.all()} == {0}


def test_a_refusal_is_kept_as_it_was():
    found = Refusal("limit", "user", "", "day", 1, 2, 3, "RUB", "2026-01-01T00:00:00+03:00", "")
    assert Refusal(**asdict(found)) == found
    assert found.wait_s == 1


def test_a_refusal_before_the_send_says_what_the_claim_would():
    everybody = budget(50)
    price = Price.objects.get()
    error = Charge.refusal(ann(), lambda: Weight(10, 100, price))
    assert error is not None
    assert error.refusal.limit == 50
    assert Charge.refusal(ann(), lambda: Weight(10, 38, price)) is None
    assert not Allowance.objects.exists()
    everybody.delete()
    assert Charge.refusal(ann(), lambda: pytest.fail("nothing is weighed for nobody")) is None


# --- periods --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("period", "starts_on", "resets_on"),
    [
        ("day", date(2026, 2, 28), date(2026, 3, 1)),
        ("week", date(2026, 2, 23), date(2026, 3, 2)),
        ("month", date(2026, 2, 1), date(2026, 3, 1)),
        ("month", date(2026, 12, 1), date(2027, 1, 1)),
    ],
)
def test_a_period_is_over_at_midnight_of_the_installation(settings, period, starts_on, resets_on):
    settings.TIME_ZONE = "Europe/Moscow"
    over = Budget(period=period).resets_at(starts_on)
    assert over == datetime(
        resets_on.year, resets_on.month, resets_on.day, tzinfo=ZoneInfo("Europe/Moscow")
    )


def test_a_day_begins_where_the_installation_is(settings):
    settings.TIME_ZONE = "Pacific/Kiritimati"
    assert (
        Budget(period="day").starts_on
        == timezone.now().astimezone(ZoneInfo("Pacific/Kiritimati")).date()
    )
    assert Budget(period="week").starts_on.weekday() == 0
    assert Budget(period="month").starts_on.day == 1


def test_what_a_new_period_has_is_its_own():
    everybody = budget(200)
    ask()
    running = claim()
    end(running, begin(running), **USED | {"cost_nano": 200})
    ask()
    assert claim() is None
    Allowance.objects.update(starts_on=date(2020, 1, 1))
    ask()
    assert claim() is not None
    assert Allowance.objects.filter(budget=everybody).count() == 2


# --- how fast -------------------------------------------------------------------------------------


def test_a_person_asks_so_often_in_a_minute_and_another_still_may(settings):
    settings.REQUESTS_A_MINUTE = 2
    first, _second = ask(), ask()
    with pytest.raises(TooManyRequests) as caught:
        ask()
    assert 0 < caught.value.wait_s <= 60
    asked_by(person("bob"))
    moved = timezone.now() - timezone.timedelta(minutes=2)
    Generation.objects.filter(pk=first.generation_id).update(queued_at=moved)
    ask()


def test_a_clock_that_was_set_back_keeps_nobody_out(settings):
    settings.REQUESTS_A_MINUTE = 1
    ask()
    Generation.objects.update(queued_at=datetime.now(UTC) + timezone.timedelta(hours=1))
    ask()


def test_so_many_replies_of_a_person_run_at_once(settings):
    settings.REPLIES_AT_ONCE = 2
    for _ in range(3):
        ask()
    assert [claim() is None for _ in range(3)] == [False, False, True]
