"""Tallies: what the calls of a conversation add up to, whatever happens to a call."""

from dataclasses import replace

import pytest
from django.core.management import CommandError, call_command

from chat.models import Call, Tally
from chat.models.budgets import Weight
from chat.models.calls import CallEnd
from chat.models.generations import Outcome
from tests.rows import answer, ask, claim, finish, gateway

pytestmark = pytest.mark.django_db

USED = {
    "prompt_tokens": 10,
    "completion_tokens": 20,
    "total_tokens": 30,
    "confidence": "exact",
    "cost_nano": 7,
    "currency": "USD",
    "cost_confidence": "exact",
}


def called(reply, through=None, **end):
    """A call for this reply that has ended so."""
    through = through or reply.gateway
    number = reply.generation.calls.count() + 1
    call = Call.begin(reply.generation, through, reply.model, number)
    Call.end(CallEnd(call.pk, **end))
    return call


def sums(conversation, **keys):
    row = Tally.objects.get(conversation=conversation, **keys)
    return row.calls, row.counted, row.tokens, row.priced, row.cost_nano


def test_a_call_counts_once_however_often_it_ends():
    reply = ask()
    call = called(reply, **USED)
    assert sums(reply.conversation, currency="USD") == (1, 1, 30, 1, 7)
    Call.end(CallEnd(call.pk, **USED))
    assert sums(reply.conversation, currency="USD") == (1, 1, 30, 1, 7)
    assert Tally.differences() == 0


def test_a_late_figure_takes_the_place_of_the_first():
    reply = ask()
    call = called(reply, total_tokens=5, prompt_tokens=2, completion_tokens=3)
    end = CallEnd(call.pk, **USED)
    Call.correct(end)
    Call.correct(replace(end, total_tokens=40, cost_nano=9))
    assert sums(reply.conversation, currency="USD") == (1, 1, 40, 1, 9)
    assert Tally.differences() == 0


def test_a_late_figure_in_another_currency_moves_it():
    reply = ask()
    call = called(reply, **USED)
    Call.correct(CallEnd(call.pk, **USED | {"currency": "RUB"}))
    assert sums(reply.conversation, currency="RUB") == (1, 1, 30, 1, 7)
    assert sums(reply.conversation, currency="USD") == (0, 0, 0, 0, 0)
    assert Tally.differences() == 0


def test_unknown_is_counted_apart_and_a_refused_call_is_not_unknown():
    reply = ask()
    called(reply)
    called(reply, error_kind="connection")
    row = Tally.objects.get(conversation=reply.conversation)
    assert (row.calls, row.unknown, row.unknown_cost) == (2, 1, 1)
    assert Tally.differences() == 0


def test_models_and_gateways_stand_apart():
    reply = ask()
    called(reply, **USED)
    called(reply, gateway("second"), **USED)
    assert Tally.objects.filter(conversation=reply.conversation).count() == 2


def test_each_model_and_currency_is_named_once():
    assert Tally.model_names() == Tally.currencies() == []
    for currency in ("USD", "EUR", "RUB", "USD"):
        called(ask(), **USED | {"currency": currency})
    assert Tally.currencies() == ["EUR", "RUB", "USD"]
    assert Tally.model_names() == ["m"]


def test_what_wrote_its_title_counts_as_well():
    reply = ask()
    called(reply, **USED)
    title = Call.begin_title(reply.conversation, reply.gateway, "small", Weight(1, 1))
    Call.end(CallEnd(title.pk, **USED))
    assert sums(reply.conversation, model="small") == (1, 1, 30, 1, 7)
    assert Tally.differences() == 0


def test_a_call_that_runs_does_not_count_and_one_that_was_stopped_does():
    reply = ask()
    running = claim()
    Call.begin(running, reply.gateway, reply.model, 1)
    assert not Tally.objects.exists()
    finish(running, Outcome("stopped"))
    assert Tally.objects.get().calls == 1
    assert Tally.differences() == 0


def test_a_difference_is_seen_and_mended():
    reply = answer(ask())
    called(reply, **USED)
    Tally.objects.update(tokens=1)
    # The kept one is wrong, and the right one is missing.
    assert Tally.differences() == 2
    with pytest.raises(CommandError, match="2 sums differ"):
        call_command("rebuild", check=True)
    call_command("rebuild")
    assert Tally.differences() == 0
    assert sums(reply.conversation, currency="USD") == (1, 1, 30, 1, 7)
