"""Budgets: what is held at a claim, spent by a call, refused before one; whatever becomes of either."""

from dataclasses import asdict
from datetime import UTC, date, datetime
from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest
from django.contrib.auth.models import Group
from django.core.management import CommandError, call_command
from django.utils import timezone

from chat.models import (
    Allowance,
    Budget,
    Call,
    Charge,
    Conversation,
    Gateway,
    Generation,
    Message,
    Price,
    User,
)
from chat.models.allowances import LEAST_REPLY_TOKENS
from chat.models.budgets import OverBudget, Refusal, Weight
from chat.models.calls import CallEnd
from chat.models.generations import Outcome, TooManyRequests
from chat.models.removal import remove
from chat.replies import weights
from tests.rows import COMPLETE, ask, at_once, finish, fresh, gateway, person, queries_of, save

pytestmark = pytest.mark.django_db

USED = {
    "prompt_tokens": 10,
    "completion_tokens": 20,
    "total_tokens": 30,
    "confidence": "exact",
    "cost_nano": 7,
    "currency": "RUB",
    "cost_confidence": "exact",
}
# One token costs one 10^-9, in or out.
PRICE = Decimal("0.001")


def ann() -> User:
    return User.objects.first() or person()


def through() -> Gateway:
    return Gateway.objects.first() or gateway(currency="RUB")


@pytest.fixture(autouse=True)
def price() -> Price:
    facts = {"model": "m", "currency": "RUB", "prompt": PRICE, "completion": PRICE}
    return Price.objects.create(gateway=through(), **facts)


def with_margin(prompt: int) -> int:
    """What is held of a prompt that was estimated so long."""
    return prompt + prompt // 4


def asked_by(owner: User) -> Message:
    return Conversation.start(owner, "Hello", "m", through())


def budget(nano: int | None = None, **facts: object) -> Budget:
    """Of everybody's, a day's, hard, in roubles, unless said otherwise."""
    money = {"money": Decimal(nano).scaleb(-9), "currency": "RUB"} if nano is not None else {}
    return Budget.objects.create(**{"period": "day", "is_hard": True, **money, **facts})


def weighing(prompt: int = 10, reply: int = 100, bounded: bool = False):
    def weigh(generation: Generation) -> Weight:
        price = Price.expected(generation.message.gateway, generation.message.model, prompt)
        return Weight(prompt, reply, price, bounded)

    return weigh


def claim(prompt: int = 10, reply: int = 100) -> Generation | None:
    return Generation.claim("here", weigh=weighing(prompt, reply))


def begin(generation: Generation, attempt: int = 1, weight: Weight | None = None) -> Call:
    reply = generation.message
    return Call.begin(generation, reply.gateway, reply.model, attempt, weight)


def end(generation: Generation, call: Call, outcome: Outcome = COMPLETE, **facts: object) -> None:
    error = {"error_kind": outcome.error_kind}
    assert Generation.finish(
        generation.pk, generation.fence, outcome, CallEnd(call.pk, **error, **facts)
    )


def figures(of: Budget) -> tuple[int, int, int, int]:
    row = Allowance.objects.get(budget=of)
    return row.spent_nano, row.held_nano, row.spent_tokens, row.held_tokens


# --- held, spent, taken back ----------------------------------------------------------------------


def test_a_claim_holds_what_the_call_may_use_and_its_end_puts_what_it_did_in_its_place():
    everybody = budget(1000, tokens=1000)
    ask()
    running = claim(prompt=10, reply=100)
    most = with_margin(10) + 100
    assert figures(everybody) == (0, most, 0, most)
    call = begin(running)
    assert figures(everybody) == (0, most, 0, most)
    end(running, call, **USED)
    assert figures(everybody) == (7, 0, 30, 0)
    assert Charge.differences() == 0


def test_a_reply_that_ends_without_a_call_gives_back_what_was_held():
    everybody = budget(1000)
    ask()
    running = claim()
    assert figures(everybody)[1] > 0
    finish(running, Outcome("failed", error_kind="bad_request"))
    assert figures(everybody) == (0, 0, 0, 0)
    assert not Charge.objects.exists()


def test_what_a_dead_owner_left_is_settled_by_whoever_gives_it_up():
    everybody = budget(1000)
    ask()
    running = claim()
    begin(running)
    assert Generation.give_up(
        running.pk,
        usage=lambda _: {"prompt_tokens": 4, "completion_tokens": 5, "total_tokens": 9},
    )
    assert figures(everybody) == (9, 0, 9, 0)


def test_a_dead_owner_whose_call_had_not_begun_holds_nothing_any_more():
    everybody = budget(1000)
    ask()
    running = claim()
    assert Generation.give_up(running.pk)
    assert figures(everybody) == (0, 0, 0, 0)


def test_a_late_figure_takes_the_place_of_the_first():
    everybody = budget(1000)
    ask()
    running = claim()
    call = begin(running)
    end(running, call, prompt_tokens=1, completion_tokens=2, total_tokens=3, confidence="estimated")
    assert figures(everybody) == (3, 0, 3, 0)
    Call.correct(CallEnd(call.pk, **USED))
    assert figures(everybody) == (7, 0, 30, 0)
    assert Charge.differences() == 0


def test_unknown_usage_is_charged_as_estimated_and_kept_out_of_the_ledger():
    everybody = budget(1000)
    reply = ask()
    running = claim(prompt=10)
    call = begin(running)
    save(running, "Because of the light.")
    end(running, call)
    answered = weights.estimate_tokens("Because of the light.")
    assert figures(everybody) == (10 + answered, 0, 10 + answered, 0)
    assert Charge.objects.get().is_estimated
    row = Call.objects.get(message=reply)
    assert (row.total_tokens, row.cost_nano) == (None, None)
    assert Charge.differences() == 0


def test_a_budget_that_is_taken_away_holds_up_nothing_that_runs():
    everybody = budget(1000)
    ask()
    running = claim()
    call = begin(running)
    everybody.delete()
    end(running, call, **USED)
    ask()
    assert claim() is not None
    assert Charge.differences() == 0


def test_what_removed_conversations_held_is_given_back():
    everybody = budget(1000)
    replies = [ask(), ask()]
    assert claim()
    assert claim()
    assert figures(everybody)[1] == 2 * (with_margin(10) + 100)
    remove([reply.conversation_id for reply in replies])
    Charge.settle_left()
    assert figures(everybody) == (0, 0, 0, 0)


def test_a_call_that_was_refused_before_anything_came_costs_nothing():
    everybody = budget(1000)
    ask()
    running = claim()
    end(running, begin(running), Outcome("failed", error_kind="rate_limit"))
    assert figures(everybody) == (0, 0, 0, 0)


@pytest.mark.parametrize("kind", ["timeout", "crash"])
def test_a_question_that_may_have_been_read_is_charged(kind):
    everybody = budget(1000)
    ask()
    running = claim(prompt=10)
    end(running, begin(running), Outcome("failed", error_kind=kind))
    assert figures(everybody) == (10, 0, 10, 0)


def test_a_further_attempt_holds_anew_and_each_is_charged():
    everybody = budget(1000)
    ask()
    running = claim()
    first = begin(running)
    Call.end(CallEnd(first.pk, error_kind="server", **USED))
    assert figures(everybody) == (7, 0, 30, 0)
    weight = Weight(20, 50, Price.objects.get())
    second = begin(running, 2, weight)
    assert figures(everybody)[1] == with_margin(20) + 50
    end(running, second, **USED)
    assert figures(everybody) == (14, 0, 60, 0)


def test_a_further_attempt_that_cannot_be_paid_is_refused():
    everybody = budget(1000)
    ask()
    running = claim()
    first = begin(running)
    Call.end(CallEnd(first.pk, error_kind="server", **USED | {"cost_nano": 990}))
    with pytest.raises(OverBudget):
        begin(running, 2, Weight(10, 100, Price.objects.get()))
    assert figures(everybody) == (990, 0, 30, 0)
    assert Call.objects.count() == 1


def test_another_gateway_than_the_one_that_was_held_for_is_held_for_anew():
    everybody = budget(5000)
    ask()
    running = claim(prompt=10, reply=100)
    dearer = Price(currency="RUB", prompt=PRICE, completion=10 * PRICE)
    call = begin(running, 1, Weight(10, 100, dearer))
    assert figures(everybody)[1] == with_margin(10) + 1000
    end(running, call, **USED)
    assert figures(everybody) == (7, 0, 30, 0)


def test_titles_and_checks_are_charged_and_refused_as_well():
    everybody = budget(100)
    reply = ask()
    price = Price.objects.get()

    def weigh() -> Weight:
        return Weight(10, 40, price)

    title = Call.begin_title(reply.conversation, through(), "m", weigh)
    Call.end(CallEnd(title.pk, **USED))
    check = Call.begin_check(ann(), through(), "m", weigh)
    Call.end(CallEnd(check.pk, **USED))
    assert figures(everybody) == (14, 0, 60, 0)
    Allowance.objects.update(spent_nano=100)
    with pytest.raises(OverBudget):
        Call.begin_title(reply.conversation, through(), "m", weigh)
    with pytest.raises(OverBudget):
        Call.begin_check(ann(), through(), "m", weigh)
    assert Call.objects.count() == 2


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


# --- together -------------------------------------------------------------------------------------


@pytest.mark.django_db(transaction=True)
def test_parallel_claims_never_hold_more_than_a_budget_has():
    each = with_margin(10) + 100
    shared = budget(each * 3 + each // 2)
    group = Group.objects.create(name="sales")
    people = [person(f"p{n}") for n in range(6)]
    for who in people:
        who.groups.add(group)
    also = budget(tokens=each * 100, group=group)
    for who in people:
        asked_by(who)
        asked_by(who)
    claims = at_once(*[lambda: [claim() for _ in range(6)] for _ in range(4)])
    assert not [each for each in claims if isinstance(each, Exception)]
    running = [one for some in claims for one in some if one is not None]
    assert len(running) == 3
    assert figures(shared)[1] == each * 3
    assert figures(also)[3] == each * 3
    refused = Generation.objects.filter(error_kind="budget").count()
    assert refused + 3 == Generation.objects.exclude(status="queued").count()


@pytest.mark.django_db(transaction=True)
def test_calls_that_end_together_add_up():
    shared, own = budget(1_000_000), budget(tokens=1_000_000, period="month")
    pairs = []
    for _ in range(8):
        ask()
        running = claim()
        pairs.append((running, begin(running)))
    results = at_once(*[lambda r=r, c=c: end(r, c, **USED) for r, c in pairs])
    assert results == [None] * 8
    assert figures(shared) == (56, 0, 240, 0)
    assert figures(own) == (0, 0, 240, 0)
    assert Charge.differences() == 0


@pytest.mark.django_db(transaction=True)
def test_what_is_left_is_closed_once_by_several_that_look_at_once():
    shared = budget(1_000_000)
    for _ in range(4):
        ask()
        claim()
    Generation.objects.update(status="failed", ended_at=timezone.now())
    results = at_once(*[Charge.settle_left] * 4, Charge.rebuild)
    assert results == [None] * 5
    assert figures(shared) == (0, 0, 0, 0)
    assert not Charge.objects.exists()


# --- what it costs --------------------------------------------------------------------------------


def test_without_a_budget_nothing_is_asked_and_with_some_a_handful():
    def claim_and_end() -> tuple[int, int]:
        ask()
        claims = queries_of(claim)
        running = Generation.objects.get(status="streaming")
        call = begin(running)
        return claims, queries_of(lambda: end(running, call, **USED))

    claim_and_end()  # the first makes the conversation's tally
    bare_claim, bare_end = claim_and_end()
    assert bare_claim <= 16
    for period in ("day", "week", "month"):
        budget(1_000_000, period=period)
    claim_and_end()  # the first of a period makes its allowance
    budgeted_claim, budgeted_end = claim_and_end()
    # Asker, budgets, allowances, locks, charges; the price of the weight; and each is raised.
    assert budgeted_claim - bare_claim <= 6 + 3
    assert budgeted_end - bare_end <= 4 + 3 * 4


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


# --- proof ----------------------------------------------------------------------------------------


def test_a_difference_is_seen_and_mended():
    everybody = budget(1000)
    ask()
    running = claim()
    end(running, begin(running), **USED)
    Charge.objects.update(spent_nano=1)
    Allowance.objects.update(spent_tokens=5, held_nano=3)
    assert Charge.differences() == 2
    with pytest.raises(CommandError, match="2 sums differ"):
        call_command("rebuild", check=True)
    call_command("rebuild")
    assert Charge.differences() == 0
    assert figures(everybody) == (7, 0, 30, 0)


def test_what_was_left_open_is_closed():
    everybody = budget(1000)
    ask()
    running = claim()
    # As a process of the version before ends one, and gives one up.
    call = begin(running)
    Call.objects.filter(pk=call.pk).update(ended_at=timezone.now(), total_tokens=30, cost_nano=7)
    Generation.objects.update(status="failed", ended_at=timezone.now())
    ask()
    claim()
    Generation.objects.update(status="failed", ended_at=timezone.now())
    Charge.settle_left()
    assert figures(everybody) == (7, 0, 30, 0)
    assert Charge.differences() == 0


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


def test_a_refusal_is_kept_as_it_was():
    found = Refusal("limit", "user", "", "day", 1, 2, 3, "RUB", "2026-01-01T00:00:00+03:00", "")
    assert Refusal(**asdict(found)) == found
    assert found.wait_s == 1
