"""Exports of feedback, of readings and of people: what their lists are narrowed to, and no more."""

import csv
import io
import json
import re

import pytest
from asgiref.sync import async_to_sync, sync_to_async
from django.urls import reverse

from chat.admin.export import BATCH, FIRST
from chat.models import Call, Conversation, Feedback, Gateway, Generation, ReadLog, User
from chat.models.calls import CallEnd
from chat.rendering.export import MESSAGES_AT_ONCE, as_json
from tests import people, rows

pytestmark = pytest.mark.django_db
NANO = 1_000_000_000


def browser(role):
    return people.browser(people.of_role(role, f"zz-{role}"))


def exported(client, model, form, **query):
    answer = client.get(reverse(f"admin:chat_{model}_export", args=[form]), query)
    assert answer.status_code == 200

    async def whole():
        return b"".join([chunk async for chunk in answer.streaming_content])

    text = async_to_sync(whole)().decode("utf-8-sig")
    if form == "csv":
        return list(csv.DictReader(io.StringIO(text)))
    return [json.loads(line) for line in text.splitlines()]


@pytest.fixture
def rated():
    """Two replies of ann's, in one conversation, a thumb down and a thumb up."""
    first = rows.answer(rows.ask("Почему?"))
    second = rows.answer(rows.ask("And now?", first.conversation))
    for reply, rating, comment in [(first, -1, "=Неверно"), (second, 1, "Good")]:
        Feedback.objects.create(message=reply, rating=rating, comment=comment)
    return first, second


def test_feedback_is_exported_with_what_was_said_and_logged_once_a_conversation(rated):
    first, _second = rated
    client = browser("reviewer")
    (row,) = exported(client, "feedback", "csv", rating__exact="-1")
    assert (row["owner"], row["comment"]) == ("ann", "'=Неверно")
    assert (row["conversation"], row["message"]) == (str(first.conversation.uuid), str(first.uuid))
    assert [each["comment"] for each in exported(client, "feedback", "jsonl")] == [
        "Good",
        "=Неверно",
    ]
    seen = ReadLog.objects.values_list("reader", "what", "conversation")
    assert list(seen) == [("zz-reviewer", "export", first.conversation.uuid)] * 2


def test_switched_off_what_was_said_stays_and_nothing_is_logged(settings, rated):
    settings.STAFF_READING = "0"
    found = exported(browser("reviewer"), "feedback", "jsonl")
    assert [each["rating"] for each in found] == [1, -1]
    assert not any({"comment", "note"} & set(each) for each in found)
    assert not ReadLog.objects.exists()


def test_feedback_of_what_was_deleted_is_for_those_who_may_see_it(rated):
    rated[0].conversation.delete_for_owner()
    assert exported(browser("reviewer"), "feedback", "csv") == []
    assert len(exported(browser("owner"), "feedback", "csv")) == 2


def test_readings_are_exported_without_a_reading(rated):
    exported(browser("reviewer"), "feedback", "csv")
    exported(browser("owner"), "feedback", "csv")
    (row,) = exported(browser("administrator"), "readlog", "csv", reader="zz-owner")
    assert (row["reader"], row["whose"], row["what"]) == ("zz-owner", "ann", "export")
    assert row["conversation"] == str(rated[0].conversation.uuid)
    assert ReadLog.objects.count() == 2


def test_people_are_exported_with_what_they_used_to_the_last_digit(rated):
    ann = User.objects.get(username="ann")
    for nano in (NANO, 1):
        rows.ask("More")
        generation = rows.claim()
        call = Call.begin(generation, generation.gateway, "m", 1)
        facts = {"total_tokens": 5, "confidence": "exact", "cost_confidence": "exact"}
        end = CallEnd(call.pk, cost_nano=nano, currency="USD", **facts)
        assert Generation.finish(generation.pk, generation.fence, rows.COMPLETE, end)
    (row,) = exported(browser("administrator"), "user", "jsonl", q="ann")
    assert (row["username"], row["key"], row["cost"]) == ("ann", ann.key.hex, ["1.000000001 USD"])
    (row,) = exported(browser("administrator"), "user", "csv", q="ann")
    assert row["cost"] == "1.000000001 USD"


# --- what it asks of the database -----------------------------------------------------------------


@pytest.mark.parametrize("form", ["csv", "jsonl"])
@pytest.mark.parametrize("model", ["conversation", "call", "feedback", "readlog", "user"])
def test_an_export_asks_as_little_for_many_rows_as_for_one(model, form):
    client = browser("owner")

    def export_more(count):
        for _ in range(count):
            person = rows.person(f"p{User.objects.count()}")
            through = Gateway.objects.first() or rows.gateway()
            reply = rows.answer(Conversation.start(person, "Why?", "m", through))
            Call.begin(reply.generation, through, "m", 1)
            Feedback.give(reply, -1, "Wrong")
        exported(browser("reviewer"), "feedback", "csv")
        found = []
        asked = rows.queries_of(lambda: found.extend(exported(client, model, form)))
        return len(found), asked

    few, asked = export_more(1)
    many, asked_for_many = export_more(12)
    assert few < many < FIRST
    assert asked_for_many <= asked <= 24


@pytest.mark.parametrize("form", ["csv", "jsonl"])
def test_an_export_begins_before_it_has_gone_through_much(form):
    owner = rows.person()
    count = FIRST + BATCH + 1
    Conversation.objects.bulk_create(
        Conversation(owner=owner, title=f"Title {n}") for n in range(count)
    )
    client = browser("owner")
    answer = client.get(reverse("admin:chat_conversation_export", args=[form]))

    async def read():
        chunks = aiter(answer.streaming_content)
        begun = await anext(chunks)
        logged = await sync_to_async(ReadLog.objects.count)()
        return begun.decode(), logged, b"".join([chunk async for chunk in chunks]).decode()

    begun, logged, rest = async_to_sync(read)()
    # What is logged by then is what was read of the rows.
    assert logged == FIRST
    assert f"Title {count - 1}" in begun
    assert f"Title {count - FIRST - 1}" not in begun
    titles = [int(number) for number in re.findall(r"Title (\d+)", begun + rest)]
    assert titles == list(reversed(range(count)))


def test_long_threads_are_exported_a_part_at_a_time():
    client = browser("owner")
    talks = [rows.answer(rows.ask(f"Question {n}")).conversation for n in range(5)]
    few = rows.queries_of(lambda: exported(client, "conversation", "jsonl"))
    for conversation in talks:
        rows.grow(conversation, MESSAGES_AT_ONCE // 4)
    told = {row["id"]: row["thread"] for row in exported(client, "conversation", "jsonl")}
    assert told == {str(each.uuid): as_json(each)["messages"] for each in talks}
    # Two fill a part: messages, calls and pictures once more for each of the two that follow.
    assert rows.queries_of(lambda: exported(client, "conversation", "jsonl")) <= few + 2 * 3
