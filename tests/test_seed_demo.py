"""Demonstration data is what the product itself would have written."""

import re

import pytest
from django.core.management import call_command
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from chat.models import Call, Conversation, Gateway, Message, Retention, Tally, retention, search
from chat.rendering.thread import shown
from tests.rows import ask, branch

pytestmark = pytest.mark.django_db


def test_seeded_conversations_are_whole_found_and_added_up():
    call_command("seed_demo", conversations=30)
    call_command("seed_demo", conversations=10)
    assert Conversation.objects.count() == 40
    assert (Message.objects.count(), Call.objects.count()) == (400, 200)
    assert all(len(branch(conversation)) == 10 for conversation in Conversation.objects.all())
    assert Tally.differences() == 0
    before = {hit.message for hit in search.search("ежик", limit=1_000)}
    assert before
    search.rebuild()
    assert {hit.message for hit in search.search("ежик", limit=1_000)} == before


def test_what_came_later_has_the_greater_key_and_only_a_title_is_found_as_one():
    call_command("seed_demo", conversations=30)
    began = list(Call.objects.order_by("pk").values_list("started_at", flat=True))
    assert began == sorted(began)
    for hit in search.search("ежик", limit=1_000):
        if hit.message is None:
            title = Conversation.objects.get(pk=hit.conversation).title
            assert "ёжик" in title.lower()


def test_real_conversations_go_on_beside_them():
    mine = ask("A real one").conversation
    call_command("seed_demo", conversations=3)
    # Their keys were given by hand; the next ones are the database's own again.
    assert ask("Another", mine).conversation == mine
    assert Conversation.objects.count() == 4


def test_what_a_conversation_cost_is_found_without_a_walk_through_all_calls():
    call_command("seed_demo", conversations=300)  # which has the planner look at it
    calls = Call.objects.filter(conversation=Conversation.objects.first())
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute("SET LOCAL enable_seqscan = off")  # of a few rows it is the quickest way
    plan = calls.order_by().explain()
    assert "chat_call" in plan
    assert not re.search(r"SCAN chat_call|Seq Scan on chat_call", plan), plan


@pytest.mark.one_form
def test_what_retention_would_take_is_looked_for_among_what_was_deleted():
    """SQLite's plan; PostgreSQL's goes by figures that a table this small hasn't."""
    call_command("seed_demo", conversations=300)
    Retention.objects.get_or_create(group=None, defaults={"deleted_days": 30})
    (due,) = retention.due()
    for rows, index in ((due.past, "conversation_deleted"), (due.messages, "message_purge")):
        assert index in rows.order_by().explain(), rows.order_by().explain()


@pytest.mark.one_form
def test_a_conversation_opens_without_a_look_at_the_first_messages_of_all_others():
    """SQLite's plan, likewise."""
    call_command("seed_demo", conversations=300)
    conversation = Conversation.objects.first()
    with CaptureQueriesContext(connection) as queries:
        shown(conversation.branch().for_display())
    (asked,) = [q["sql"] for q in queries if "OR" in q["sql"] and '"parent_id" IN' in q["sql"]]
    with connection.cursor() as cursor:
        cursor.execute("EXPLAIN QUERY PLAN " + asked.replace("%", "%%"))
        plan = "\n".join(str(row[-1]) for row in cursor.fetchall())
    assert "chat_message_conversation_id" in plan, plan


def test_a_conversation_is_shown_in_few_queries(plain_static, django_assert_max_num_queries):
    """Of the session and the reader 2, of the list 2, of the models 3; nothing of what they may."""
    call_command("seed_demo", conversations=60)
    Gateway.objects.update(enabled=True)
    conversation = Conversation.objects.first()
    client = Client()
    client.force_login(conversation.owner)
    client.get(conversation.get_absolute_url())  # the first time it is marked as read
    with django_assert_max_num_queries(15):
        page = client.get(conversation.get_absolute_url()).content.decode()
    assert page.count("<article") == 10
    assert "This conversation so far" in page


def test_a_question_is_recorded_in_few_queries(django_assert_max_num_queries):
    call_command("seed_demo", conversations=2)
    conversation = Conversation.objects.first()
    with django_assert_max_num_queries(16):
        conversation.send("And then?", "m", Gateway.objects.get())


@pytest.mark.one_form
def test_currencies_and_models_are_named_without_reading_all_tallies():
    """SQLite's plan, likewise."""
    for named in (Tally.currencies, Tally.model_names):
        with CaptureQueriesContext(connection) as queries:
            named()
        with connection.cursor() as cursor:
            cursor.execute("EXPLAIN QUERY PLAN " + queries[0]["sql"])
            plan = "\n".join(str(row[-1]) for row in cursor.fetchall())
        assert "SEARCH chat_tally USING COVERING INDEX tally_" in plan
        assert "SCAN chat_tally" not in plan, plan
