"""Budgets: what is held at a claim and spent by a call; whatever becomes of either."""

import pytest
from django.contrib.auth.models import Group
from django.core.management import CommandError, call_command
from django.utils import timezone

from chat.models import Allowance, Call, Charge, Generation, Price
from chat.models.budgets import OverBudget, Weight
from chat.models.calls import CallEnd
from chat.models.generations import Outcome
from chat.models.removal import remove
from chat.replies import weights
from tests.charges import (
    PRICE,
    USED,
    ann,
    asked_by,
    begin,
    budget,
    claim,
    end,
    figures,
    price,
    through,
    with_margin,
)
from tests.rows import ask, at_once, finish, person, queries_of, save

__all__ = ["price"]
pytestmark = pytest.mark.django_db


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
