"""Conversations in the admin: listed, searched and narrowed; each read as a transcript."""

import pytest
from django.utils import timezone

from chat.admin.read_only import CappedPaginator
from chat.admin.search import fold
from chat.models import Conversation, User
from chat.models.generations import Outcome
from tests.administration import (
    NANO_UNIT,
    USAGE,
    address,
    answer,
    ask,
    conversation,
    gateway,
    people,
    reviewer,
)
from tests.people import browser

__all__ = ["conversation", "gateway", "people", "reviewer"]
pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("plain_static", "cheap_passwords")]


# --- the list ---------------------------------------------------------------------------------


def titles(client, **query):
    response = client.get(address("chat_conversation_changelist"), query)
    assert response.status_code == 200, response.get("Location")
    return [conversation.title for conversation in response.context["cl"].result_list]


def test_the_list_tells_owner_models_messages_tokens_cost_and_errors(reviewer, conversation):
    page = reviewer.get(address("chat_conversation_changelist"))
    row = page.context["cl"].result_list[0]
    shown = page.content.decode()
    assert row.models == ["gpt-4o"]
    assert (row.message_count, row.error_count) == (3, 1)
    assert row.total.tokens == 42
    for words in ("member", ">3<", ">42<", "1.000000001 USD", "errors: 1"):
        assert words in shown


def test_currencies_are_never_added_together(reviewer, people, gateway):
    reply = answer(ask(people["member"], "First", gateway), "One", **USAGE)
    more = reply.conversation.send("Second", "gpt-4o", gateway)
    answer(more, "Two", **USAGE | {"currency": "RUB", "cost_nano": 2 * NANO_UNIT})
    shown = reviewer.get(address("chat_conversation_changelist")).content.decode()
    assert "2 RUB + 1.000000001 USD" in shown


def test_unknown_usage_is_told_apart_from_none(reviewer, people, gateway):
    reply = answer(ask(people["member"], "First", gateway), "One", **USAGE)
    answer(reply.conversation.send("Second", "gpt-4o", gateway), "Two")
    answer(ask(people["member"], "Third", gateway), "Three")
    page = reviewer.get(address("chat_conversation_changelist"))
    third, first = page.context["cl"].result_list
    assert first.total.show_tokens() == "≥ 42"
    assert first.total.show_cost() == "≥ 1.000000001 USD"
    assert third.total.show_tokens() is None
    assert third.total.show_cost() is None


@pytest.mark.parametrize(
    "query",
    ["ежик", "ЁЖИК", "Ёжик тумане", "100%", '"в тумане"', "РЕКИ"],
)
def test_search_finds_titles_and_messages_in_any_case(reviewer, people, gateway, query):
    answer(ask(people["member"], "Ёжик в тумане, на 100%", gateway), "Там текут реки")
    answer(ask(people["analyst"], "Something else_", gateway), "Nothing of the kind")
    assert titles(reviewer, q=query) == ["Ёжик в тумане, на 100%"]


def test_search_takes_wildcards_and_quotes_as_letters(reviewer, people, gateway):
    answer(ask(people["member"], "Plain words", gateway), "An answer")
    for query in ("%", "_", '"', "'", "\\", "P%n"):
        assert titles(reviewer, q=query) == []


def test_folding_knows_cyrillic():
    assert fold("ЁЖИК Ёжик Ёлка") == "ежик ежик елка"


def test_filters_narrow_by_day_gateway_model_status_and_deletion(
    reviewer, people, gateway, settings
):
    settings.TIME_ZONE = "Europe/Moscow"
    answer(ask(people["member"], "Old", gateway, "gpt-4o"), "An answer")
    failed = ask(people["member"], "Failed", gateway, "claude")
    answer(failed, "", Outcome("failed", "", "server"))
    deleted = answer(ask(people["member"], "Deleted", gateway, "gpt-4o"), "An answer")
    deleted.conversation.delete_for_owner()
    # 22:30 UTC of the 1st is the 2nd in Moscow.
    when = timezone.now().replace(year=2026, month=3, day=1, hour=22, minute=30)
    Conversation.objects.filter(title="Old").update(active_at=when)
    assert titles(reviewer, active_at_from="2026-03-02", active_at_to="2026-03-02") == ["Old"]
    assert titles(reviewer, active_at_to="2026-03-01") == []
    assert titles(reviewer, status="errors") == ["Failed"]
    assert titles(reviewer, model="CLAU") == ["Failed"]
    # What people deleted is not for everybody who reads.
    assert titles(reviewer) == ["Failed", "Old"]
    owner = browser(people["owner"])
    assert titles(owner, deleted="yes") == ["Deleted"]
    assert titles(owner, deleted="no") == ["Failed", "Old"]
    assert len(titles(owner, gateway="openai")) == 3
    assert titles(reviewer, gateway="other") == []


@pytest.mark.parametrize("day", ["yesterday", "2026-02-31", "0001-01-01", "9999-12-31", ""])
def test_a_day_that_is_none_narrows_nothing(reviewer, conversation, day):
    assert titles(reviewer, active_at_from=day, active_at_to=day) == [conversation.title]


def test_a_list_of_many_costs_no_more_queries_than_a_list_of_one(
    reviewer, people, gateway, django_assert_max_num_queries
):
    for number in range(12):
        reply = ask(people["member"], f"Question {number}", gateway, f"model-{number}")
        answer(reply, "An answer", **USAGE)
    for page in ("chat_conversation_changelist", "chat_call_changelist"):
        # Session, person and rights (4), the rows, what they add up to (3), the filters (4), the log.
        with django_assert_max_num_queries(14):
            assert reviewer.get(address(page)).context["cl"].result_count == 12


def test_a_list_is_counted_no_further_than_it_is_paged(people, django_assert_num_queries):
    class Paginator(CappedPaginator):
        most = 3

    listed = Paginator(User.objects.order_by("pk"), 2)
    with django_assert_num_queries(1):
        assert (listed.count, listed.num_pages, listed.is_capped) == (3, 2, True)
    assert not CappedPaginator(User.objects.order_by("pk"), 2).is_capped
    assert CappedPaginator(User.objects.order_by("pk"), 2).count == len(people)


# --- a transcript -----------------------------------------------------------------------------


def transcript(client, conversation, **query):
    return client.get(address("chat_conversation_change", conversation.pk), query)


def test_a_transcript_shows_the_readers_view_and_each_call(reviewer, conversation):
    page = transcript(reviewer, conversation).content.decode()
    question, first, second = conversation.messages.order_by("pk")
    for message in (question, first, second):
        assert f'data-message="{message.uuid}"' in page
    for words in (
        "How do rivers begin?",
        "<strong>high up</strong>",
        'data-part="error" data-kind="server"',
        "upstream said no",
        "req-1",
        "1.000000001 USD",
        "{&quot;prompt_tokens&quot;: 12, &quot;completion_tokens&quot;: 30}",
    ):
        assert words in page


def test_a_transcript_offers_no_command(reviewer, conversation, gateway):
    conversation.send("Another, still running", "gpt-4o", gateway)
    page = transcript(reviewer, conversation).content.decode()
    commands = ("stop", "retry", "continue", "regenerate", "edit", "delete")
    assert [name for name in commands if f'name="{name}"' in page] == []
    # One form is left: to log out.
    assert page.count("<form") == 1


def test_a_transcript_keeps_branches_together_and_links_versions(reviewer, conversation, gateway):
    question, first, second = conversation.messages.order_by("pk")
    edited = question.edit("Asked otherwise", "gpt-4o", gateway)
    answer(edited, "Answered otherwise")
    entries = transcript(reviewer, conversation).context["entries"]
    assert [entry.row.pk for entry in entries] == [
        edited.parent_id,
        edited.pk,
        question.pk,
        first.pk,
        second.pk,
    ]
    assert [entry.begins_branch for entry in entries] == [False, False, True, False, True]
    assert entries[4].forks_from == f"#m-{question.uuid}"
    versions = [(v.number, v.href, v.is_here) for v in entries[3].versions]
    assert versions == [(1, f"#m-{first.uuid}", True), (2, f"#m-{second.uuid}", False)]


def test_a_transcript_leads_to_what_went_wrong(reviewer, conversation):
    second = conversation.messages.order_by("pk").last()
    problems = transcript(reviewer, conversation).context["problems"]
    assert problems == [{"href": f"#m-{second.uuid}", "label": "failed: server"}]


def test_a_deleted_message_and_conversation_are_marked(people, reviewer, conversation):
    last = conversation.messages.order_by("pk").last()
    last.delete_for_owner()
    assert len(transcript(reviewer, conversation).context["entries"]) == 2
    conversation.delete_for_owner()
    assert transcript(reviewer, conversation).status_code == 404
    page = transcript(browser(people["owner"]), conversation)
    assert [e.row.deleted_at is not None for e in page.context["entries"]] == [False, False, True]
    # Of the conversation in its facts, and of the message at its foot.
    assert page.content.decode().count("deleted by the owner") == 2


def test_a_long_transcript_comes_in_pages(reviewer, people, gateway, django_assert_max_num_queries):
    conversation = answer(ask(people["member"], "Question 0", gateway), "Answer").conversation
    for number in range(1, 60):
        reply = conversation.send(f"Question {number}", "gpt-4o", gateway)
        answer(reply, f"Answer {number}", **USAGE)
    with django_assert_max_num_queries(18):
        first = transcript(reviewer, conversation)
    assert len(first.context["entries"]) == 100
    second = transcript(reviewer, conversation, p="2")
    assert [entry.m.text for entry in second.context["entries"]][-1] == "Answer 59"
    assert second.context["total"].tokens == 42 * 59
    assert transcript(reviewer, conversation, p="nonsense").status_code == 200


def test_a_conversation_that_is_none_is_not_found(reviewer):
    for pk in ("0", "999999", "nonsense", "1e5"):
        assert reviewer.get(address("chat_conversation_change", pk)).status_code == 404
