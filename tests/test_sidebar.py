"""The list of conversations: its days in the reader's time zone, its pages, and what changed in it."""

from datetime import UTC, datetime, timedelta
from typing import TypeVar
from zoneinfo import ZoneInfo

import pytest
from django.utils import timezone, translation

from chat.models import Conversation, Generation, Message, User
from chat.models.conversations import MAX_PINNED, UNDO_WITHIN, Conflict
from chat.models.generations import Outcome
from chat.page import sidebar
from tests import rows

Row = TypeVar("Row", User, Conversation, Message)
pytestmark = pytest.mark.django_db


@pytest.fixture
def ann() -> User:
    return rows.person()


def conversation(owner: User, title: str, ago: timedelta = timedelta(0)) -> Conversation:
    return Conversation.objects.create(
        owner=owner, title=title, active_at=timezone.now() - ago, listed_version=owner.version
    )


def fresh(row: Row) -> Row:
    return type(row).objects.get(pk=row.pk)


def titles(lines: list[sidebar.Line]) -> list[str]:
    return [line.conversation.title for line in lines]


def days(lines: list[sidebar.Line]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for line in lines:
        found.setdefault(line.day.label, []).append(line.conversation.title)
    return found


# --- days ---


def test_conversations_stand_under_the_days_of_their_last_activity(ann):
    for ago in (0, 1, 2, 6, 7, 400):
        conversation(ann, f"{ago} days", timedelta(days=ago))
    found = days(sidebar.listing(ann).lines)
    assert list(found)[:3] == ["Today", "Yesterday", "Previous 7 days"]
    assert found["Previous 7 days"] == ["2 days", "6 days"]
    assert list(found.values())[3:] == [["7 days"], ["400 days"]]
    with translation.override("ru"):
        assert list(days(sidebar.listing(ann).lines))[:2] == ["Сегодня", "Вчера"]


@pytest.mark.parametrize("zone", ["UTC", "Pacific/Kiritimati", "Pacific/Pago_Pago", "Asia/Kolkata"])
def test_a_day_begins_at_the_readers_midnight(ann, zone):
    midnight = datetime.now(ZoneInfo(zone)).replace(hour=0, minute=0, second=0, microsecond=0)
    for name, moment in (("after", midnight), ("before", midnight - timedelta(microseconds=1))):
        Conversation.objects.create(owner=ann, title=name, active_at=moment.astimezone(UTC))
    with timezone.override(zone):
        lines = sidebar.listing(ann).lines
    assert days(lines) == {"Today": ["after"], "Yesterday": ["before"]}


def test_a_day_has_its_place_above_what_stands_under_it_and_below_the_day_after(ann):
    """By places alone a page must come to the order in which the list was written."""
    for hours in range(0, 24 * 70, 7):
        conversation(ann, f"{hours}", timedelta(hours=hours))
    Conversation.objects.create(
        owner=ann, title="by a clock that is ahead", active_at=timezone.now() + timedelta(days=9)
    )
    conversation(ann, "pinned", timedelta(days=30)).pin(True)
    lines, place = [], ""
    while not lines or place:
        page = sidebar.listing(ann, place)
        lines += page.lines
        place = page.older
    written = []
    for line in lines:
        if line.day.place not in written:
            written.append(line.day.place)
        written.append(line.place)
    assert len(written) > 240
    assert written == sorted(written, reverse=True)
    assert len({len(place) for place in written}) == 1


# --- pages ---


def test_pages_bring_each_conversation_once_and_in_order(ann):
    moment = timezone.now()
    many = [
        Conversation(owner=ann, title=f"{n}", active_at=moment - timedelta(minutes=n // 3))
        for n in range(sidebar.PAGE * 2 + 5)
    ]
    Conversation.objects.bulk_create(many)
    stranger = rows.person("stranger")
    conversation(stranger, "somebody else's")
    seen, place = [], ""
    for _page in range(3):
        page = sidebar.listing(ann, place)
        seen += [line.conversation.pk for line in page.lines]
        place = page.older
    assert place == ""
    assert seen == list(ann.conversations.listed().values_list("pk", flat=True))


@pytest.mark.parametrize("place", ["x", "0", "1" * 29, "0" * 28, "0" * 30, "0" + "٣" * 28])
def test_what_is_no_place_is_refused(ann, place):
    with pytest.raises(sidebar.NoPlace):
        sidebar.listing(ann, place)


def test_the_last_of_ten_thousand_are_listed_in_as_many_queries_as_the_first(
    ann, django_assert_num_queries
):
    moment = timezone.now()
    Conversation.objects.bulk_create(
        Conversation(owner=ann, title=f"{n}", active_at=moment - timedelta(minutes=n))
        for n in range(10_000)
    )
    with django_assert_num_queries(2):
        first = sidebar.listing(ann)
    assert len(first.lines) == sidebar.PAGE
    last = ann.conversations.listed().reverse()[sidebar.PAGE]
    with django_assert_num_queries(1):
        page = sidebar.listing(ann, sidebar._place_of(last))
    assert len(page.lines) == sidebar.PAGE
    assert page.older == ""


# --- what changed ---


def test_what_changed_since_a_version_is_told_and_nothing_else(ann):
    kept, renamed, deleted = (conversation(ann, name) for name in ("kept", "old name", "deleted"))
    version = fresh(ann).version
    assert sidebar.changed(fresh(ann), version) == ([], [])
    renamed.rename("new name")
    deleted.delete_for_owner()
    lines, gone = sidebar.changed(fresh(ann), version)
    assert titles(lines) == ["new name"]
    assert gone == [deleted]
    deleted.restore()
    lines, gone = sidebar.changed(fresh(ann), version)
    assert (sorted(titles(lines)), gone) == (["deleted", "new name"], [])
    assert fresh(kept).listed_version <= version


@pytest.mark.parametrize("version", [-1, 10**9])
def test_a_version_that_never_was_gets_the_list_anew(ann, version):
    assert sidebar.changed(fresh(ann), version) is None


def test_whoever_missed_much_gets_the_list_anew(ann):
    version = ann.version
    for number in range(sidebar.MOST_CHANGES + 1):
        conversation(ann, f"{number}").rename("again")
    assert sidebar.changed(fresh(ann), version) is None


def test_a_title_or_a_reading_moves_nothing(ann):
    older, newer = conversation(ann, "older", timedelta(minutes=1)), conversation(ann, "newer")
    older.rename("renamed")
    older.mark_read(1)
    older.take_title("by a model")
    assert titles(sidebar.listing(ann).lines) == ["newer", "renamed"]
    assert newer.active_at == fresh(newer).active_at


def test_the_running_are_marked_until_they_end():
    reply = rows.ask()
    owner = reply.conversation.owner

    def is_running() -> bool:
        return sidebar.listing(fresh(owner)).lines[0].conversation.is_running

    assert is_running()
    rows.answer(reply)
    assert not is_running()


def test_a_question_that_waits_for_a_persons_word_is_not_marked_as_running():
    stopped = rows.ask()
    held = [rows.ask(text, stopped.conversation) for text in ("And?", "And then?")]
    owner = stopped.conversation.owner

    def is_running() -> bool:
        return sidebar.listing(fresh(owner)).lines[0].conversation.is_running

    rows.answer(stopped, outcome=Outcome("stopped"))
    assert not is_running()
    version = fresh(owner).version
    rows.fresh(held[0]).generation.release()
    assert is_running()
    (line,), _gone = sidebar.changed(fresh(owner), version)
    assert line.conversation.is_running
    rows.answer(held[0])
    assert is_running()  # with the next in the queue


# --- unread ---


def ended(outcome: Outcome) -> Conversation:
    reply = rows.ask()
    rows.answer(reply, outcome=outcome)
    return fresh(reply.conversation)


@pytest.mark.parametrize("status", ["complete", "failed", "interrupted"])
def test_a_reply_that_ended_is_unread_until_it_is_seen(status):
    answered = ended(Outcome(status, error_kind="" if status == "complete" else "server"))
    assert answered.is_unread
    version = fresh(answered.owner).version
    answered.mark_read(answered.version)
    assert not fresh(answered).is_unread
    assert fresh(answered.owner).version > version


def test_what_was_stopped_by_hand_is_not_news():
    assert not ended(Outcome("stopped")).is_unread


def test_a_page_of_before_the_end_has_not_seen_it():
    answered = ended(Outcome("complete"))
    answered.mark_read(answered.answered_version - 1)
    assert fresh(answered).is_unread


def test_seeing_it_twice_changes_nothing():
    answered = ended(Outcome("complete"))
    answered.mark_read(answered.version)
    version = fresh(answered.owner).version
    fresh(answered).mark_read(answered.version)
    assert fresh(answered.owner).version == version


# --- pinned, deleted, restored ---


def test_the_pinned_stand_first_and_go_back_to_their_day(ann):
    old = conversation(ann, "old", timedelta(days=3))
    conversation(ann, "new")
    old.pin(True)
    assert days(sidebar.listing(ann).lines) == {"Pinned": ["old"], "Today": ["new"]}
    old.pin(False)
    assert days(sidebar.listing(ann).lines) == {"Today": ["new"], "Previous 7 days": ["old"]}


def test_not_more_are_pinned_than_a_page_can_show(ann):
    for number in range(MAX_PINNED):
        conversation(ann, f"{number}").pin(True)
    one_more = conversation(ann, "one more")
    with pytest.raises(Conflict):
        one_more.pin(True)
    ann.conversations.exclude(pinned_at=None).first().pin(False)
    one_more.pin(True)
    assert len([line for line in sidebar.listing(ann).lines if line.day.label == "Pinned"]) == 100


def test_a_deletion_can_be_undone_for_a_while_and_then_no_more(ann):
    gone = conversation(ann, "gone")
    gone.delete_for_owner()
    assert list(ann.conversations.restorable()) == [gone]
    Conversation.objects.filter(pk=gone.pk).update(deleted_at=timezone.now() - UNDO_WITHIN)
    assert not ann.conversations.restorable().exists()


def test_a_conversation_deleted_while_it_ran_comes_back_with_what_had_arrived():
    reply = rows.ask()
    generation = rows.claim()
    rows.save(generation, "Half of")
    reply.conversation.delete_for_owner()
    assert Generation.objects.get(pk=generation.pk).stop_requested
    rows.save(generation, " it")
    rows.finish(generation, Outcome("stopped"))
    fresh(reply.conversation).restore()
    found = fresh(reply)
    assert (found.text, found.status) == ("Half of it", "stopped")
    assert found.conversation in reply.conversation.owner.conversations.listed()
