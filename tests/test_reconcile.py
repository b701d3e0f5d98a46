"""`manage.py reconcile`: the ledger against a gateway's balances and its records of calls."""

from datetime import timedelta
from decimal import Decimal
from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from chat.models import Balance, Call, DayTally, Gateway, User
from chat.models.budgets import Weight
from chat.models.calls import CallEnd
from chat.replies import reconcile
from tests import rows

pytestmark = pytest.mark.django_db
NANO = 1_000_000_000


@pytest.fixture
def aitunnel(gateway):
    return own("aitunnel", gateway, "RUB")


@pytest.fixture
def openrouter(gateway):
    return own("openrouter", gateway, "USD")


def own(slug, gateway, currency):
    row = rows.gateway(slug, currency=currency, is_private_allowed=True)
    row.base_url = gateway.url
    row.save()
    return row


def spent(gateway, nano, hours_ago, request_id="", **end):
    """A call that ended then and cost so much."""
    person, _ = User.objects.get_or_create(username="ann")
    call = Call.begin_check(person, gateway, "m", Weight(1, 1))
    used = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2, "confidence": "exact"}
    cost = {"cost_nano": nano, "currency": gateway.currency, "cost_confidence": "exact"}
    Call.end(CallEnd(call.pk, request_id=request_id, **used | cost | end))
    moment = timezone.now() - timedelta(hours=hours_ago)
    Call.objects.filter(pk=call.pk).update(started_at=moment, ended_at=moment)
    return call


def left(gateway, amount, hours_ago):
    Balance.objects.create(
        gateway=gateway,
        at=timezone.now() - timedelta(hours=hours_ago),
        nano=int(Decimal(amount) * NANO),
        currency=gateway.currency,
    )


def told(*arguments, status=0, **options):
    """What the command writes; it ends with this status."""
    out = StringIO()
    if not status:
        call_command("reconcile", *arguments, stdout=out, **options)
        return out.getvalue()
    with pytest.raises(CommandError) as raised:
        call_command("reconcile", *arguments, stdout=out, **options)
    assert raised.value.returncode == status
    return f"{out.getvalue()}{raised.value}"


# --- by balance ---------------------------------------------------------------------------------


def test_a_balance_that_fell_by_what_calls_cost_is_no_difference(gateway, aitunnel):
    left(aitunnel, "100", hours_ago=72)
    spent(aitunnel, 3 * NANO, hours_ago=60)
    left(aitunnel, "97", hours_ago=48)
    spent(aitunnel, 500_000_001, hours_ago=30)
    gateway.refuse(200, {"balance": 96.499999999}, path="/v1/aitunnel/balance")
    shown = told("aitunnel")
    assert "No difference." in shown
    # What was asked is kept, for the next time.
    assert [str(b.amount.normalize()) for b in aitunnel.balances.all()] == [
        "1E+2",
        "97",
        "96.499999999",
    ]
    first, second = reconcile.by_balance(aitunnel, days=7)
    assert (first.ours, first.theirs, first.calls) == (3, 3, 1)
    assert second.difference == 0


def test_a_difference_is_shown_by_day_and_ends_with_1(gateway, aitunnel):
    left(aitunnel, "100", hours_ago=72)
    spent(aitunnel, 3 * NANO, hours_ago=60)
    spent(aitunnel, None, hours_ago=59, currency="", cost_confidence="unknown")
    left(aitunnel, "95", hours_ago=48)
    left(aitunnel, "95", hours_ago=24)
    shown = told("aitunnel", status=1, no_ask=True)
    assert shown.count("DIFFERS") == 1
    assert "2.000000000" in shown
    assert "1 calls of unknown cost" in shown
    assert "1 lines differ." in shown


def test_a_difference_within_the_tolerance_is_none(aitunnel):
    left(aitunnel, "100", hours_ago=48)
    left(aitunnel, "99.95", hours_ago=0)
    assert "DIFFERS" in told("aitunnel", status=1, no_ask=True)
    assert "No difference." in told("aitunnel", no_ask=True, tolerance=Decimal("0.05"))


def test_a_top_up_is_not_taken_for_a_difference(aitunnel):
    left(aitunnel, "10", hours_ago=48)
    spent(aitunnel, NANO, hours_ago=30)
    left(aitunnel, "509", hours_ago=0)
    assert "topped up meanwhile" in told("aitunnel", no_ask=True)


def test_of_each_day_the_last_balance_counts(settings, aitunnel):
    settings.TIME_ZONE = "Europe/Moscow"
    zone = timezone.get_default_timezone()
    noon = timezone.localtime(timezone=zone).replace(hour=12, minute=0)
    for days, hours, amount in ((3, 0, 9), (2, -6, 8), (2, 0, 7), (2, 6, 6), (1, 0, 5)):
        at = noon - timedelta(days=days) + timedelta(hours=hours)
        Balance.objects.create(gateway=aitunnel, at=at, nano=amount * NANO, currency="RUB")
    lines = reconcile.by_balance(aitunnel, days=7)
    assert [line.theirs for line in lines] == [3, 1]
    assert [line.theirs for line in reconcile.by_balance(aitunnel, days=1)] == [1]


def test_another_currency_and_another_gateway_are_not_compared(gateway, aitunnel):
    other = own("other", gateway, "RUB")
    left(aitunnel, "10", hours_ago=48)
    spent(other, NANO, hours_ago=30)
    spent(aitunnel, NANO, hours_ago=30, currency="USD")
    left(aitunnel, "10", hours_ago=0)
    assert "No difference." in told("aitunnel", no_ask=True)


def test_one_balance_alone_says_that_another_is_needed(gateway, aitunnel):
    gateway.refuse(200, {"balance": 5}, path="/v1/aitunnel/balance")
    assert "another day's is needed" in told("aitunnel")


def test_a_gateway_that_does_not_answer_ends_with_2(gateway, aitunnel):
    gateway.refuse(500, {"error": {"message": "out of order"}}, path="/v1/aitunnel/balance")
    assert "could not be asked" in told("aitunnel", status=2)


def test_a_gateway_that_is_none_is_said(aitunnel):
    assert "There is no gateway nowhere." in told("nowhere", status=2)


def test_where_another_server_stands_now_the_old_balances_are_void(aitunnel):
    left(aitunnel, "10", hours_ago=48)
    aitunnel.forget()
    assert not Balance.objects.exists()


# --- call by call -------------------------------------------------------------------------------


def record(gateway, name, cost, prompt=1, completion=1):
    document = {
        "id": name,
        "total_cost": cost,
        "native_tokens_prompt": prompt,
        "native_tokens_completion": completion,
    }
    gateway.refuse(200, {"data": document}, path="/v1/generation")


def asked_for(gateway):
    """No balance there."""
    gateway.refuse(200, {"data": {}}, path="/v1/credits")


def test_records_of_calls_that_say_the_same_are_no_difference(gateway, openrouter):
    asked_for(gateway)
    for number in (1, 2):
        spent(openrouter, number * NANO, hours_ago=1, request_id=f"gen-{number}")
        record(gateway, f"gen-{number}", number)
    spent(openrouter, NANO, hours_ago=1, request_id="req-1")
    shown = told("openrouter")
    assert "by its records of 2 calls of 2" in shown
    assert "3.000000000" in shown
    assert "No difference." in shown


def test_the_dearest_are_asked_for_and_a_difference_ends_with_1(gateway, openrouter):
    asked_for(gateway)
    for number in (1, 2, 3):
        spent(openrouter, number * NANO, hours_ago=1, request_id=f"gen-{number}")
    record(gateway, "gen-3", 3.5)
    shown = told("openrouter", status=1, lookups=1)
    assert "by its records of 1 calls of 3" in shown
    assert "0.500000000" in shown


def test_the_ledger_is_corrected_where_that_is_asked(gateway, openrouter):
    asked_for(gateway)
    call = spent(openrouter, NANO, hours_ago=1, request_id="gen-1", cost_confidence="estimated")
    record(gateway, "gen-1", 1.25, prompt=7, completion=8)
    assert "1 corrected in the ledger" in told("openrouter", status=1, correct=True)
    call.refresh_from_db()
    assert (call.cost, call.total_tokens, call.cost_confidence) == (Decimal("1.25"), 15, "exact")
    # It began at another moment than when it was counted first.
    DayTally.rebuild()
    asked_for(gateway)
    record(gateway, "gen-1", 1.25, prompt=7, completion=8)
    assert "No difference." in told("openrouter")


def test_a_call_without_a_record_is_counted_and_compared_to_nothing(gateway, openrouter):
    asked_for(gateway)
    spent(openrouter, NANO, hours_ago=1, request_id="gen-1")
    gateway.refuse(404, {"error": {"message": "no such generation"}}, path="/v1/generation")
    shown = told("openrouter")
    assert "1 have no record there" in shown
    assert "No difference." in shown


def test_the_demo_is_not_asked():
    Gateway.objects.create(slug="demo", name="Demo", base_url="http://127.0.0.1:9/v1")
    assert told() == "No difference.\n"
