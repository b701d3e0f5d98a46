"""How long things are kept: rules by group, what they remove and what stays, legal holds."""

from datetime import timedelta
from io import StringIO

import pytest
from django.contrib.auth.models import Group
from django.core.management import call_command
from django.db import IntegrityError, connection, transaction
from django.utils import timezone

from chat.models import (
    Call,
    Command,
    Conversation,
    Feedback,
    Generation,
    Hold,
    Message,
    Picture,
    Purge,
    Retention,
    Revision,
    Score,
    Tally,
    User,
    retention,
    search,
)
from chat.models.budgets import Weight
from chat.models.calls import CallEnd
from chat.models.conversations import Held
from chat.models.generations import Outcome
from tests.rows import answer, ask, at_once, claim, finish, fresh, grow, person, save

pytestmark = pytest.mark.django_db
DAY = timedelta(days=1)


@pytest.fixture(autouse=True)
def first_rules(db):
    """Those of a new installation, taken away."""
    found = list(Retention.objects.all())
    Retention.objects.all().delete()
    return found


def rule(group: str | None = None, **days: int) -> Retention:
    found = Group.objects.get_or_create(name=group)[0] if group else None
    return Retention.objects.create(group=found, **days)


def of(owner: User, title: str, idle: int = 0, deleted: int | None = None) -> Conversation:
    """A conversation that was last used, and deleted, so many days ago."""
    now = timezone.now()
    return Conversation.objects.create(
        owner=owner,
        title=title,
        active_at=now - idle * DAY - timedelta(minutes=1),
        deleted_at=None if deleted is None else now - deleted * DAY - timedelta(minutes=1),
    )


def member(name: str, *groups: str) -> User:
    found = person(name)
    for group in groups:
        found.groups.add(Group.objects.get_or_create(name=group)[0])
    return found


def purge() -> Purge:
    found = Purge.begin(by_hand=True)
    assert found
    return found.run()


def left() -> set[str]:
    return set(Conversation.objects.values_list("title", flat=True))


# --- rules ----------------------------------------------------------------------------------------


def test_a_new_installation_keeps_what_was_deleted_for_thirty_days(first_rules):
    assert [(r.group, r.idle_days, r.deleted_days) for r in first_rules] == [(None, None, 30)]


def test_nothing_goes_without_a_rule():
    ann = person()
    of(ann, "old", idle=5000, deleted=4000)
    assert purge().conversations == 0
    assert left() == {"old"}


def test_a_rule_is_met_to_the_day():
    ann = person()
    rule(idle_days=30, deleted_days=7)
    for title, idle, deleted in [
        ("idle 29", 29, None),
        ("idle 30", 30, None),
        ("deleted 6", 8, 6),
        ("deleted 7", 8, 7),
        ("deleted, and long idle", 31, 1),
    ]:
        of(ann, title, idle, deleted)
    assert purge().conversations == 3
    assert left() == {"idle 29", "deleted 6"}


def test_the_rule_of_a_group_goes_before_that_of_all_others_and_the_longest_wins():
    rule(idle_days=10)
    rule("short", idle_days=5)
    rule("long", idle_days=50)
    rule("forever", deleted_days=3)
    people = {
        "nobody": (member("nobody", "unruled"), 10),
        "short": (member("short", "short"), 5),
        "both": (member("both", "short", "long"), 50),
        "forever": (member("forever", "short", "forever"), None),
    }
    for name, (who, days) in people.items():
        assert retention.rule_of(who)[0] == days, name
        for idle in (4, 6, 11, 51):
            of(who, f"{name} {idle}", idle)
    purge()
    assert left() == {
        f"{name} {idle}"
        for name, (_, days) in people.items()
        for idle in (4, 6, 11, 51)
        if days is None or idle < days
    }


def test_of_two_rules_that_keep_as_long_each_counts_what_the_other_does_not():
    for name in ("one", "two"):
        rule(name, idle_days=5)
    of(member("ann", "one", "two"), "in both", 6)
    assert sorted(each.idle.count() for each in retention.due()) == [0, 1]


def test_what_two_rules_have_go_is_counted_once_and_goes():
    rule("one", idle_days=5, deleted_days=9)
    rule("two", idle_days=3, deleted_days=20)
    ann = member("ann", "one", "two")
    for title, idle, deleted in (
        ("kept", 4, 4),
        ("kept, deleted", 4, 15),
        ("idle", 6, None),
        ("both", 30, 30),
        ("deleted", 0, 30),
    ):
        of(ann, title, idle, deleted)
    for conversation in Conversation.objects.all():
        Message.objects.create(
            conversation=conversation, role="user", deleted_at=timezone.now() - 21 * DAY
        )
    counts = [each.counts() for each in retention.due()]
    # By their last activity the first rule keeps longer, after a deletion the second.
    assert counts == [(1, 1, 0, 0), (0, 1, 2, 0)]
    assert [each.idle.count() for each in retention.due()] == [1, 0]
    assert [each.deleted.count() for each in retention.due()] == [1, 1]
    assert purge().conversations == 3
    assert left() == {"kept", "kept, deleted"}
    assert Message.objects.exclude(purged_at=None).count() == 2


def test_there_is_one_rule_for_all_others():
    rule(idle_days=1)
    with pytest.raises(IntegrityError), transaction.atomic():
        rule(idle_days=2)


def test_an_answer_asked_for_anew_is_activity():
    reply = answer(ask())
    Conversation.objects.update(active_at=timezone.now() - 9 * DAY)
    Generation.objects.update(queued_at=timezone.now() - 9 * DAY)
    rule(idle_days=5)
    assert retention.due()[0].idle.exists()
    fresh(reply).regenerate()
    assert not retention.due()[0].idle.exists()


# --- the purge ------------------------------------------------------------------------------------


def test_a_purged_conversation_leaves_its_calls_and_nothing_else():
    reply = answer(ask("A private matter"), "A private answer")
    call = Call.begin(reply.generation, reply.gateway, "m", 1)
    Call.end(
        CallEnd(
            call.pk,
            error_message="you said: private",
            total_tokens=3,
            cost_nano=5,
            currency="USD",
            images=(PIXEL,),
        )
    )
    Revision.rewrite(reply, "Another private answer")
    Feedback.give(reply, -1, "A private word")
    Score.objects.create(message=reply, name="accuracy", value=1)
    Command.once(lambda: reply, user=reply.conversation.owner, name="send", key="k")
    grow(reply.conversation, 700)  # further down than Python recurses
    title = Call.begin_title(reply.conversation, reply.gateway, "m", Weight(1, 1))
    Call.end(CallEnd(title.pk, error_message="you said: private"))
    reply.conversation.delete_for_owner()
    Conversation.objects.update(deleted_at=timezone.now() - 8 * DAY)
    rule(deleted_days=7)

    found = purge()

    assert (found.conversations, found.messages) == (1, 2 + 1400)
    titled = Call.objects.get(pk=title.pk)
    assert (titled.conversation, titled.error_message) == (None, "")
    for model in (Conversation, Message, Generation, Tally, Revision, Feedback, Score, Picture):
        assert not model.objects.exists(), model
    assert not Command.objects.exists()
    kept = Call.objects.get(pk=call.pk)
    assert (kept.cost_nano, kept.total_tokens, kept.user_key) == (5, 3, User.objects.get().key)
    assert (kept.message, kept.generation, kept.error_message) == (None, None, "")
    assert Tally.differences() == 0
    assert not in_index("private")


def test_of_a_deleted_message_the_words_go_and_the_sums_stay():
    first = answer(ask("Keep this"), "Kept")
    reply = answer(first.conversation.send("A private matter", "m", first.gateway), "Private words")
    call = Call.begin(reply.generation, reply.gateway, "m", 1)
    Call.end(CallEnd(call.pk, error_message="private", total_tokens=3, cost_nano=5, currency="USD"))
    Revision.rewrite(reply, "More private words")
    Message.objects.get(text="A private matter").delete_for_owner()
    rule(deleted_days=7)
    assert purge().messages == 0
    Message.objects.exclude(deleted_at=None).update(deleted_at=timezone.now() - 8 * DAY)
    assert retention.due()[0].messages.count() == 2

    assert purge().messages == 2

    gone = Message.objects.exclude(purged_at=None)
    assert [(m.text, m.reasoning, m.links) for m in gone] == [("", "", [])] * 2
    assert not Revision.objects.exists()
    assert Call.objects.get(pk=call.pk).error_message == ""
    assert Tally.differences() == 0
    assert Tally.objects.get().cost_nano == 5
    assert set(Message.objects.values_list("text", flat=True)) == {"Keep this", "Kept", ""}
    assert purge().messages == 0


def test_many_go_in_batches(django_assert_max_num_queries):
    ann = person()
    for number in range(50):
        of(ann, f"old {number}", 10)
    rule(idle_days=5)
    steps = Purge.begin(by_hand=True)
    assert [steps.step() for _ in range(4)] == [True, True, True, False]
    steps.refresh_from_db()
    assert steps.conversations == 50


@pytest.mark.django_db(transaction=True)
def test_once_a_day_and_by_one_process_of_several():
    begun = at_once(*[Purge.begin] * 4)
    assert sum(isinstance(each, Purge) for each in begun) == 1, begun
    assert Purge.begin() is None
    assert Purge.begin(by_hand=True)
    Purge.objects.update(at=timezone.now() - DAY)
    assert Purge.begin()


def test_a_dry_run_says_what_would_go_and_removes_nothing():
    ann = person()
    rule(idle_days=5, deleted_days=2)
    of(ann, "idle", 6)
    of(ann, "deleted", 3, 3)
    Hold.place("A dispute", None, conversation=of(ann, "held", 6))
    said = StringIO()
    call_command("purge", "--dry-run", stdout=said)
    assert "all others: 1 conversations by their last activity, 1 that were" in said.getvalue()
    assert "Held back by legal holds: 1 conversations." in said.getvalue()
    assert left() == {"idle", "deleted", "held"}
    said = StringIO()
    call_command("purge", stdout=said)
    assert "Gone: 2 conversations" in said.getvalue()
    assert left() == {"held"}


# --- legal holds ----------------------------------------------------------------------------------


@pytest.fixture
def reply():
    return answer(ask("Evidence"), "More evidence")


@pytest.mark.parametrize("on", ["person", "conversation"])
def test_what_is_held_is_neither_deleted_nor_purged(reply, on):
    conversation = reply.conversation
    target = {"person": conversation.owner, "conversation": conversation}[on]
    hold = Hold.place("A dispute", None, **{on: target})
    with pytest.raises(Held):
        conversation.delete_for_owner()
    with pytest.raises(Held):
        fresh(reply).delete_for_owner()
    Conversation.objects.update(active_at=timezone.now() - 99 * DAY, deleted_at=timezone.now())
    Generation.objects.update(queued_at=timezone.now() - 99 * DAY)
    Message.objects.update(deleted_at=timezone.now() - 99 * DAY)
    rule(idle_days=1, deleted_days=1)
    assert purge().conversations == 0
    assert retention.due()[0].counts().held == 1
    assert Message.objects.filter(purged_at=None).count() == 2
    hold.lift(conversation.owner)
    assert purge().conversations == 1


def test_a_hold_on_one_thing_holds_nothing_else(reply):
    other = of(person("bob"), "Of Bob")
    Hold.place("A dispute", None, person=other.owner)
    reply.conversation.delete_for_owner()
    with pytest.raises(Held):
        other.delete_for_owner()


def test_a_retry_that_would_write_over_words_is_refused_while_they_are_held():
    first = ask()
    first.conversation.send("Next", "m", first.gateway)
    generation = claim()
    save(generation, "Half of")
    finish(generation, Outcome("failed", error_kind="server"))
    Hold.place("A dispute", None, conversation=first.conversation)
    with pytest.raises(Held):
        fresh(first).retry()
    assert fresh(first).text == "Half of"


def test_a_lifted_hold_stays_to_be_seen(reply):
    hold = Hold.place("A dispute", reply.conversation.owner, conversation=reply.conversation)
    hold.lift(reply.conversation.owner)
    before = hold.lifted_at
    hold.lift(reply.conversation.owner)
    assert (Hold.objects.get().why, Hold.objects.get().lifted_at) == ("A dispute", before)


@pytest.mark.django_db(transaction=True)
def test_a_hold_and_a_purge_at_once_leave_no_hold_on_nothing():
    ann = person()
    rule(idle_days=5)
    rows = [of(ann, f"old {number}", 9) for number in range(4)]
    for row in rows:
        begun = Purge.begin(by_hand=True)
        assert begun
        held, _ = at_once(
            lambda row=row: Hold.place("A dispute", None, conversation=row), begun.step
        )
        is_there = Conversation.objects.filter(pk=row.pk).exists()
        assert is_there == isinstance(held, Hold)
        if is_there:
            Hold.objects.all().delete()
            row.delete()


PIXEL = (
    "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9"
    "awAAAABJRU5ErkJggg=="
)


def in_index(word: str) -> bool:
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM chat_search WHERE words LIKE %s", [f"%{word}%"])
        return bool(cursor.fetchone()[0]) or bool(search.search(word))
