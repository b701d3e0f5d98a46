"""A reply's way through the rows: one claim, checkpoints that never double, one end."""

import threading

import pytest
from django.db import IntegrityError, transaction

from chat.models import Call, Conversation, Generation
from chat.models.calls import CallEnd
from chat.models.conversations import Conflict
from chat.models.generations import Outcome
from chat.replies.branch import cut_usage
from chat.replies.branch import turns as turns_of
from tests import rows
from tests.rows import COMPLETE, answer, ask, at_once, claim, finish, fresh, queries_of, save
from tests.waiting import until

pytestmark = pytest.mark.django_db
STOPPED = Outcome("stopped")
CUT = Outcome("interrupted", error_kind="connection")


# --- claiming -----------------------------------------------------------------------------------


@pytest.mark.django_db(transaction=True)
def test_of_many_runners_one_gets_a_reply():
    ask()
    claims = at_once(*[lambda n=n: Generation.claim(f"runner {n}") for n in range(6)])
    won = [each for each in claims if each is not None]
    assert len(won) == 1
    assert Generation.objects.get().owner == won[0].owner


@pytest.mark.django_db(transaction=True)
def test_runners_at_once_share_the_queue_without_a_loss():
    for number in range(4):
        ask(f"question {number}")
    at_once(*[lambda: [Generation.claim("one") for _ in range(4)] for _ in range(3)])
    assert Generation.objects.filter(status="streaming", fence=1).count() == 4


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("how", ["finish", "give up", "claim"])
def test_who_stops_a_reply_and_who_runs_it_wait_in_no_circle(how):
    """PostgreSQL would end one of them: Stop was answered 500."""
    reply = ask()
    generation = None if how == "claim" else claim()
    is_held = threading.Event()

    @transaction.atomic
    def stop():
        reply.lock()
        is_held.set()
        if how != "claim":  # which passes over what is held
            until(rows.somebody_waits, "the other one waits")
        Generation.stop_all(Generation.objects.filter(message=reply))

    def run():
        is_held.wait(10)
        if how == "finish":
            return finish(generation)
        return Generation.give_up(generation.pk) if generation else Generation.claim("other")

    results = at_once(stop, run)
    assert [each for each in results if isinstance(each, Exception)] == []
    # On SQLite the runner has its turn when the stop is through, too.
    ended = {"finish": "complete", "give up": "interrupted", "claim": "stopped"}
    assert fresh(reply).status == ended[how]


def test_the_oldest_reply_is_claimed_first():
    asked = [ask(f"question {number}").pk for number in range(3)]
    assert [claim().message_id for _ in asked] == asked
    assert Generation.claim("here") is None


def test_a_claim_shows_in_the_reply_and_counts_a_fence():
    reply = ask()
    before = reply.conversation.version
    generation = claim("here")
    reply = fresh(reply)
    assert (generation.owner, generation.fence, generation.status) == ("here", 1, "streaming")
    assert reply.status == "streaming"
    assert reply.version == reply.conversation.version > before


def test_whoever_waits_for_a_person_stands_ahead_of_nobody():
    stopped = ask()
    for text in ("And?", "And then?"):
        ask(text, stopped.conversation)
    answer(stopped, outcome=Outcome("stopped"))
    first, second = ask("Elsewhere?"), ask("And there?")
    assert [fresh(reply).generation.places_ahead for reply in (first, second)] == [0, 1]


@pytest.mark.parametrize("turns", [1, 40])
def test_a_claimed_reply_reads_its_conversation_in_as_many_queries_however_long(turns):
    reply = ask()
    for n in range(turns):
        answer(reply, f"Answer {n}.")
        reply = ask(f"And {n}?", reply.conversation)
    generation = claim()
    assert queries_of(lambda: turns_of(generation)) == 1
    assert [turn.role for turn in turns_of(generation)] == ["user", "assistant"] * turns + ["user"]


def test_a_claim_whose_answer_was_lost_is_taken_up_by_its_owner():
    """Until it has made a call: that is never repeated in silence."""
    ask()
    generation = claim("here")
    assert Generation.unbegun("here", []) == generation
    assert Generation.unbegun("here", [generation.pk]) is None
    assert Generation.unbegun("elsewhere", []) is None
    Call.begin(generation, generation.gateway, "m", 1)
    assert Generation.unbegun("here", []) is None


def test_a_call_that_begins_again_after_a_lost_answer_has_one_row():
    ask()
    generation = claim()
    calls = [Call.begin(generation, generation.gateway, "m", attempt) for attempt in (1, 1, 2)]
    assert len({call.pk for call in calls}) == 2


def test_a_conversation_runs_one_reply():
    first = ask()
    second = ask("And?", first.conversation)
    generation = claim()
    assert generation.message_id == first.pk
    assert Generation.claim("here") is None
    with pytest.raises(IntegrityError), transaction.atomic():
        Generation.objects.filter(message=second).update(status="streaming")


def test_another_conversation_does_not_wait():
    ask()
    other = ask("Something else")
    claim()
    assert claim().message_id == other.pk


def test_a_full_gateway_lets_others_pass():
    first = ask()
    second = rows.gateway("second", position=1)
    other = Conversation.start(first.conversation.owner, "Something else", "m", second)
    claimed = Generation.claim("here", full_gateways=[first.gateway_id])
    assert claimed.message_id == other.pk


def test_a_person_with_very_many_replies_lets_others_pass():
    for _ in range(101):
        ask()
    other = Conversation.start(rows.person("bob"), "Me too", "m", rows.gateway("second"))
    claimed = [claim() for _ in range(101)]
    assert claimed[-1].message_id == other.pk
    assert Generation.claim("here") is None


# --- one after another --------------------------------------------------------------------------


def test_a_reply_goes_on_after_a_complete_one():
    first = ask()
    second = ask("And?", first.conversation)
    assert Generation.objects.get(message=second).waits_for == first
    answer(first)
    assert claim().message_id == second.pk


@pytest.mark.parametrize("status", ["stopped", "failed", "interrupted"])
def test_a_reply_is_held_behind_one_that_is_not_complete(status):
    first = ask()
    second = ask("And?", first.conversation)
    answer(first, outcome=Outcome(status))
    assert Generation.claim("here") is None
    assert fresh(second).is_held
    assert fresh(second).can_retry


def test_a_held_reply_goes_on_a_persons_word():
    first = ask()
    second = ask("And?", first.conversation)
    answer(first, outcome=CUT)
    before = fresh(second).conversation.version
    assert fresh(second).retry() == second
    assert fresh(second).version > before
    assert not fresh(second).is_held
    assert claim().message_id == second.pk
    assert Generation.objects.filter(message=second).count() == 1


def test_a_reply_that_waits_goes_now_and_what_runs_ahead_of_it_is_stopped():
    first = ask()
    running = claim("here")
    second, third = ask("And?", first.conversation), ask("And then?", first.conversation)
    assert [fresh(m).can_retry for m in (second, third)] == [True, False]
    assert fresh(second).retry() == second
    assert Generation.beat("here")[running.pk]
    assert Generation.claim("there") is None
    assert finish(running, Outcome("stopped"))
    assert claim("there").message_id == second.pk
    with pytest.raises(Conflict):
        fresh(second).retry()


def test_a_claim_changes_the_reply_that_waits_behind_it():
    """It may go now, from then on, and shows so."""
    first = ask()
    second = ask("And?", first.conversation)
    before = fresh(second).version
    assert not fresh(second).can_go_now
    claim()
    assert fresh(second).can_go_now
    assert fresh(second).version > before


def test_a_held_reply_goes_on_when_the_one_ahead_is_repeated_well():
    first = ask()
    second = ask("And?", first.conversation)
    answer(first, "", Outcome("failed", error_kind="server"))
    assert fresh(first).retry() == first
    assert not fresh(second).is_held
    answer(first)
    assert claim().message_id == second.pk


def test_a_change_of_the_reply_ahead_changes_the_one_that_waits():
    """Whether it is held shows in it, so its version rises too."""
    first = ask()
    second = ask("And?", first.conversation)
    before = fresh(second).version
    answer(first, outcome=CUT)
    assert fresh(second).version > before


# --- stopping -----------------------------------------------------------------------------------


def test_a_queued_reply_that_is_stopped_is_never_claimed():
    reply = ask()
    fresh(reply).stop()
    assert fresh(reply).status == "stopped"
    assert Generation.claim("here") is None
    assert not Call.objects.exists()


def test_a_running_reply_is_stopped_by_whoever_runs_it():
    reply = ask()
    generation = claim("here")
    fresh(reply).stop()
    assert fresh(reply).status == "streaming"
    assert Generation.beat("elsewhere") == {}
    assert Generation.beat("here") == {generation.pk: True}


def test_stopping_an_ended_reply_changes_nothing():
    reply = answer(ask())
    before = reply.conversation.version
    fresh(reply).stop()
    assert fresh(reply).status == "complete"
    assert fresh(reply).conversation.version == before


def test_a_beat_counts_up():
    ask()
    generation = claim("here")
    Generation.beat("here")
    Generation.beat("here")
    generation.refresh_from_db()
    assert generation.heartbeat == 2


# --- checkpoints --------------------------------------------------------------------------------


def test_checkpoints_add_up():
    reply = ask()
    generation = claim()
    assert save(generation, "Be", "hm, ") == []
    assert save(generation, "cause.", "yes") == []
    reply = fresh(reply)
    assert (reply.reasoning, reply.text) == ("hm, yes", "Because.")
    generation.refresh_from_db()
    assert (generation.saved_reasoning, generation.saved_text) == (7, 8)
    assert generation.timings == "0 4 2\n0 7 8\n"
    assert generation.first_delta_at is not None


def test_the_same_checkpoint_again_is_saved_once():
    """Its answer may have been lost on the way from the database."""
    reply = ask()
    generation = claim()
    for _ in range(2):
        assert save(generation, "Because.", saved=(0, 0)) == []
    assert fresh(reply).text == "Because."


def test_a_checkpoint_that_leaves_a_gap_is_refused():
    reply = ask()
    generation = claim()
    assert save(generation, "cause.", saved=(0, 2)) == [generation.pk]
    assert fresh(reply).text == ""


def test_another_fence_writes_nothing():
    reply = ask()
    generation = claim()
    assert save(generation, "stolen", fence=generation.fence + 1) == [generation.pk]
    assert fresh(reply).text == ""


def test_an_ended_reply_gains_nothing():
    reply = answer(ask())
    generation = reply.generation
    assert save(generation, " More.") == [generation.pk]
    assert fresh(reply).text == "Because."


def test_a_deleted_reply_gets_nothing_back():
    reply = ask()
    generation = claim()
    save(generation, "Be")
    fresh(reply).delete_for_owner()
    assert save(generation, "cause.") == []
    assert finish(generation)
    assert fresh(reply).text == "Be"
    assert fresh(reply).deleted_at is not None


def test_one_lost_reply_does_not_hold_up_the_batch():
    first, second = ask(), ask()
    lost, kept = claim(), claim()
    finish(lost, CUT)
    assert save(lost, "late") == [lost.pk]
    assert save(kept, "Because.") == []
    assert (fresh(first).text, fresh(second).text) == ("", "Because.")


# --- the end ------------------------------------------------------------------------------------


def test_an_end_is_final():
    reply = ask()
    generation = claim()
    assert finish(generation)
    assert not finish(generation, STOPPED)
    assert fresh(reply).status == "complete"


def test_an_end_that_is_repeated_is_still_ours():
    """Its answer may have been lost on the way from the database."""
    ask()
    generation = claim()
    assert finish(generation)
    version = generation.conversation.version
    assert finish(generation)
    generation.refresh_from_db()
    assert generation.conversation.version == version + 1


def test_another_fence_ends_nothing():
    reply = ask()
    generation = claim()
    generation.fence += 1
    assert not finish(generation)
    assert fresh(reply).status == "streaming"


def test_an_end_completes_its_call():
    ask()
    generation = claim()
    call = Call.begin(generation, generation.gateway, "m", 1)
    end = CallEnd(call.pk, http_status=200, prompt_tokens=3, confidence="exact")
    Generation.finish(generation.pk, generation.fence, Outcome("complete"), end)
    call.refresh_from_db()
    assert (call.http_status, call.prompt_tokens, call.completion_tokens) == (200, 3, None)
    assert call.ended_at is not None


# --- what the dead left -------------------------------------------------------------------------


def test_a_sweep_interrupts_what_the_dead_left():
    dead, alive, queued = ask(), ask(), ask()
    claim("dead")
    claim("alive")
    assert Generation.sweep(["alive"]) == 1
    dead, alive, queued = fresh(dead), fresh(alive), fresh(queued)
    assert [m.status for m in (dead, alive, queued)] == ["interrupted", "streaming", "queued"]
    assert dead.generation.error_kind == "crash"
    assert Generation.sweep(["alive"]) == 0


def test_the_dead_cannot_write_after_a_sweep():
    reply = ask()
    generation = claim("dead")
    save(generation, "Be")
    Generation.sweep([], usage=cut_usage)
    assert save(generation, "cause.") == [generation.pk]
    assert not finish(generation)
    assert (fresh(reply).text, fresh(reply).status) == ("Be", "interrupted")


def test_a_sweep_estimates_the_tokens_of_a_call_that_had_an_answer():
    ask("Why is the sky blue, and since when?")
    generation = claim("dead")
    call = Call.begin(generation, generation.gateway, "m", 1)
    save(generation, "Because of the air, ", "The user asks about the sky.")
    Generation.sweep([], usage=cut_usage)
    call.refresh_from_db()
    assert call.confidence == "estimated"
    assert call.error_kind == "crash"
    assert 8 < call.prompt_tokens < 25
    assert 8 < call.completion_tokens < 25
    assert call.total_tokens == call.prompt_tokens + call.completion_tokens
    assert (call.cached_tokens, call.reasoning_tokens, call.cost_nano) == (None, None, None)


@pytest.fixture
def awake():
    """A reply's generation, given up with its call estimated, whose owner goes on all the same."""
    ask("Why is the sky blue?")
    generation = claim("taken for dead")
    call = Call.begin(generation, generation.gateway, "m", 1)
    save(generation, "Because of the air.")
    Generation.sweep([], usage=cut_usage)
    return generation, Call.objects.get(pk=call.pk)


def facts(call):
    return Call.objects.filter(pk=call.pk).values().get()


def test_who_was_taken_for_dead_puts_no_guess_in_the_place_of_another(awake):
    generation, call = awake
    before = facts(call)
    guess = CallEnd(call.pk, confidence="estimated", prompt_tokens=1, completion_tokens=2)
    assert not Generation.finish(generation.pk, generation.fence, COMPLETE, guess)
    assert facts(call) == before


def test_who_was_taken_for_dead_may_bring_the_true_figure(awake):
    generation, call = awake
    before = facts(call)
    usage = {"prompt_tokens": 9, "completion_tokens": 8, "total_tokens": 17, "confidence": "exact"}
    assert not Generation.finish(
        generation.pk, generation.fence, COMPLETE, CallEnd(call.pk, finish_reason="stop", **usage)
    )
    assert facts(call) == before | usage
    less = CallEnd(call.pk, confidence="exact", total_tokens=1)
    Generation.finish(generation.pk, generation.fence, COMPLETE, less)
    assert facts(call) == before | usage


def test_a_sweep_leaves_unknown_what_a_call_without_an_answer_took():
    ask()
    generation = claim("dead")
    call = Call.begin(generation, generation.gateway, "m", 1)
    Generation.sweep([], usage=cut_usage)
    call.refresh_from_db()
    assert (call.confidence, call.prompt_tokens, call.total_tokens) == ("unknown", None, None)
    assert call.ended_at is not None


def test_a_sweep_counts_a_continued_replys_earlier_text_as_prompt():
    text = "word " * 200
    reply = answer(ask(), text, CUT)
    reply.go_on()
    generation = claim("dead")
    call = Call.begin(generation, generation.gateway, "m", 1)
    save(generation, "and so on")
    Generation.sweep([], usage=cut_usage)
    call.refresh_from_db()
    assert call.completion_tokens < 10
    assert call.prompt_tokens > 200


def test_a_sweep_estimates_a_call_once():
    ask()
    generation = claim("dead")
    first = Call.begin(generation, generation.gateway, "m", 1)
    Call.end(CallEnd(first.pk, error_kind="server"))
    last = Call.begin(generation, generation.gateway, "m", 2)
    save(generation, "Because.")
    Generation.sweep([], usage=cut_usage)
    first.refresh_from_db()
    last.refresh_from_db()
    assert (first.confidence, first.error_kind, first.total_tokens) == ("unknown", "server", None)
    assert last.confidence == "estimated"
