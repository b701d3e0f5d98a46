"""Conversations as trees, commands that are given once, the first owner, gateways."""

import pytest
from django.conf import settings
from django.core.exceptions import ValidationError
from django.db import connection
from django.test.utils import CaptureQueriesContext
from hypothesis import given
from hypothesis import strategies as st

from chat.models import Command, Conversation, Gateway, Generation, Message, User
from chat.models.conversations import TITLE_CHARS, Conflict, title_from
from chat.models.generations import Outcome
from chat.models.language_models import first_listed, validate_model_name
from chat.models.people import OwnerExists
from tests import rows
from tests.rows import answer, ask, at_once, branch, claim, fresh

pytestmark = pytest.mark.django_db
CUT = Outcome("interrupted", error_kind="connection")


# --- sending ------------------------------------------------------------------------------------


def test_a_first_question_starts_a_conversation():
    reply = ask("Why is the sky blue?\n\nAnd since when?")
    conversation = reply.conversation
    assert conversation.title == "Why is the sky blue? And since when?"
    assert branch(conversation) == ["Why is the sky blue?\n\nAnd since when?", "queued"]
    assert reply.parent.role == "user"
    assert reply.generation.kind == "send"


def test_a_send_goes_to_the_end():
    first = answer(ask("one"), "eins")
    ask("two", first.conversation)
    assert branch(first.conversation) == ["one", "eins", "two", "queued"]


def test_a_send_from_a_page_that_is_behind_goes_to_the_end_all_the_same():
    first = answer(ask("one"), "eins")
    answer(ask("two", first.conversation), "zwei")
    ask("three", first.conversation, parent=first.uuid)
    assert branch(first.conversation) == ["one", "eins", "two", "zwei", "three", "queued"]


def test_a_send_goes_to_the_end_of_the_branch_that_the_page_shows():
    first = answer(ask("one"), "eins")
    answer(ask("two", first.conversation), "zwei")
    edited = answer(fresh(first).parent.edit("uno", "m", first.gateway), "un")
    assert branch(first.conversation) == ["uno", "un"]
    ask("three", first.conversation, parent=first.uuid)
    assert branch(first.conversation) == ["one", "eins", "two", "zwei", "three", "queued"]
    assert not fresh(edited).current
    assert edited.children.count() == 0


def test_a_send_below_a_deleted_message_goes_to_the_end():
    first = answer(ask("one"), "eins")
    second = answer(ask("two", first.conversation), "zwei")
    second.parent.delete_for_owner()
    ask("three", first.conversation, parent=second.uuid)
    assert branch(first.conversation) == ["one", "eins", "three", "queued"]


@pytest.mark.django_db(transaction=True)
def test_two_tabs_that_send_at_once_lose_nothing_and_do_not_fork():
    first = answer(ask("one"), "eins")
    texts = [f"from tab {number}" for number in range(4)]

    def send(text):
        conversation = Conversation.objects.get(pk=first.conversation_id)
        return conversation.send(text, "m", first.gateway, first.uuid)

    at_once(*[lambda text=text: send(text) for text in texts])
    shown = branch(first.conversation)
    assert sorted(set(shown) & set(texts)) == texts
    assert len(shown) == 2 + 2 * len(texts)
    parents = Message.objects.exclude(parent=None).values_list("parent", flat=True)
    assert len(parents) == len(set(parents))


@pytest.mark.django_db(transaction=True)
def test_a_version_is_never_given_twice():
    first = answer(ask("one"), "eins")

    def rename(title):
        Conversation.objects.get(pk=first.conversation_id).rename(title)

    before = fresh(first).conversation.version
    at_once(*[lambda n=n: [rename(f"title {n}") for _ in range(3)] for n in range(3)])
    assert fresh(first).conversation.version == before + 9


# --- the tree -----------------------------------------------------------------------------------


def test_an_edit_makes_a_sibling_and_shows_it():
    reply = answer(ask("one"), "eins")
    edited = reply.parent.edit("uno", "m", reply.gateway)
    assert branch(reply.conversation) == ["uno", "queued"]
    assert edited.parent.siblings == [reply.parent, edited.parent]
    assert fresh(reply).text == "eins"


def test_an_edit_further_down_keeps_what_stands_above():
    first = answer(ask("one"), "eins")
    second = answer(ask("two", first.conversation), "zwei")
    second.parent.edit("deux", "m", second.gateway)
    assert branch(first.conversation) == ["one", "eins", "deux", "queued"]


def test_a_question_that_waits_is_changed_where_it_stands():
    running = ask("one")
    claim()
    waiting, behind = ask("two", running.conversation), ask("three", running.conversation)
    other = Gateway.objects.create(slug="other", name="Other", base_url="http://127.0.0.1:9/v1")
    assert fresh(waiting.parent).is_unasked
    assert waiting.parent.edit("deux", "another", other) == waiting
    assert branch(running.conversation) == ["one", "streaming", "deux", "queued", "three", "queued"]
    assert (fresh(waiting).model, fresh(waiting).generation.gateway) == ("another", other)
    assert fresh(waiting.parent).version == fresh(waiting).version > fresh(behind).version
    assert running.conversation.messages.count() == 6


def test_a_question_that_is_being_answered_is_not_changed():
    reply = ask("one")
    claim()
    with pytest.raises(Conflict):
        fresh(reply.parent).edit("uno", "m", reply.gateway)
    assert fresh(reply.parent).text == "one"


@pytest.mark.django_db(transaction=True)
def test_a_change_and_a_claim_at_once_leave_the_question_that_is_asked():
    reply = ask("one")
    results = at_once(lambda: claim(), lambda: fresh(reply.parent).edit("uno", "m", reply.gateway))
    was_changed = not isinstance(results[1], Exception)
    assert was_changed or isinstance(results[1], Conflict)
    assert fresh(reply.parent).text == ("uno" if was_changed else "one")
    assert reply.conversation.messages.count() == 2
    assert Generation.objects.get().status == (
        "queued" if isinstance(results[0], Exception) else "streaming"
    )


def test_the_title_follows_a_first_question_that_is_changed_while_it_waits():
    reply = ask("one")
    reply.parent.edit("uno", "m", reply.gateway)
    assert fresh(reply).conversation.title == "uno"
    reply.conversation.rename("Mine")
    reply.parent.edit("eins", "m", reply.gateway)
    assert fresh(reply).conversation.title == "Mine"


def test_regenerate_makes_a_sibling_of_the_reply():
    reply = answer(ask("one"), "eins")
    again = reply.regenerate()
    assert branch(reply.conversation) == ["one", "queued"]
    assert again.siblings == [reply, again]
    assert (again.model, again.gateway) == (reply.model, reply.gateway)
    assert again.generation.kind == "regenerate"


def test_regenerate_may_ask_another_model():
    reply = answer(ask("one"), "eins")
    second = rows.gateway("second")
    again = reply.regenerate("other", second)
    assert (again.model, again.gateway) == ("other", second)


@pytest.mark.parametrize("command", ["regenerate", "retry", "go_on"])
def test_a_running_reply_is_not_asked_for_again(command):
    reply = ask()
    claim()
    with pytest.raises(Conflict):
        getattr(fresh(reply), command)()


@pytest.mark.parametrize("command", ["regenerate", "retry", "go_on"])
def test_a_question_has_no_commands_of_a_reply(command):
    question = answer(ask()).parent
    with pytest.raises(Conflict):
        getattr(question, command)()


def test_a_reply_is_not_edited():
    reply = answer(ask())
    with pytest.raises(Conflict):
        reply.edit("words in its mouth", "m", reply.gateway)


def test_nothing_is_edited_while_a_reply_runs():
    reply = answer(ask("one"))
    ask("two", reply.conversation)
    with pytest.raises(Conflict):
        fresh(reply).parent.edit("uno", "m", reply.gateway)


def test_a_retry_fills_a_reply_that_failed_without_a_word():
    reply = answer(ask(), "", Outcome("failed", error_kind="server"))
    assert reply.retry() == reply
    assert fresh(reply).status == "queued"
    assert answer(reply).text == "Because."
    assert reply.siblings == [reply]


def test_a_retry_keeps_what_a_cut_reply_had():
    reply = answer(ask(), "Be", CUT)
    again = reply.retry()
    assert again.siblings == [reply, again]
    assert fresh(reply).text == "Be"


def test_a_complete_reply_is_not_retried():
    reply = answer(ask())
    with pytest.raises(Conflict):
        reply.retry()


@pytest.mark.parametrize(
    ("outcome", "goes_on"),
    [
        (CUT, True),
        (Outcome("stopped"), True),
        (Outcome("complete", finish_reason="length"), True),
        (Outcome("complete", finish_reason="stop"), False),
        (Outcome("complete", finish_reason="content_filter"), False),
        (Outcome("failed", error_kind="server"), False),
    ],
)
def test_a_reply_that_was_cut_goes_on(outcome, goes_on):
    reply = answer(ask(), "Be", outcome)
    assert reply.can_continue is goes_on
    if not goes_on:
        with pytest.raises(Conflict):
            reply.go_on()
        return
    assert reply.go_on() == reply
    assert answer(reply, "cause.").text == "Because."


def test_only_the_last_reply_goes_on():
    reply = answer(ask("one"), "Be", CUT)
    answer(ask("two", reply.conversation))
    with pytest.raises(Conflict):
        fresh(reply).go_on()


def test_a_branch_is_shown_down_the_way_that_was_chosen_last():
    first = answer(ask("one"), "eins")
    answer(ask("two", first.conversation), "zwei")
    edited = answer(fresh(first).parent.edit("uno", "m", first.gateway), "un")
    fresh(first).parent.make_current()
    assert branch(first.conversation) == ["one", "eins", "two", "zwei"]
    edited.parent.make_current()
    assert branch(first.conversation) == ["uno", "un"]


@pytest.mark.parametrize("command", ["make_current", "edit", "delete_for_owner"])
def test_a_command_asks_no_more_of_the_database_in_a_long_branch(command):
    queries = []
    for turns in (2, 200):
        first = answer(ask("one"), "eins")
        rows.grow(first.conversation, turns)
        edited = answer(fresh(first).parent.edit("uno", "m", first.gateway), "un")
        about = ()
        if command == "edit":
            fresh(first).parent.make_current()
            about = ("three", "m", first.gateway)
        message = fresh(edited if command == "delete_for_owner" else first).parent
        with CaptureQueriesContext(connection) as asked:
            getattr(message, command)(*about)
        queries.append(len(asked))
        Generation.stop_all(Generation.objects.all())
    assert len(branch(first.conversation)) == (2 if command == "edit" else 402)
    assert queries[0] == queries[1]


def test_deleting_takes_what_follows():
    first = answer(ask("one"), "eins")
    second = answer(ask("two", first.conversation), "zwei")
    second.parent.delete_for_owner()
    assert branch(first.conversation) == ["one", "eins"]
    assert fresh(second).deleted_at is not None


def test_deleting_shows_a_sibling_where_there_is_one():
    reply = answer(ask("one"), "eins")
    again = answer(reply.regenerate(), "uno")
    again.delete_for_owner()
    assert branch(reply.conversation) == ["one", "eins"]
    assert fresh(reply).siblings == [reply]


def test_deleting_on_another_branch_leaves_the_current_one():
    reply = answer(ask("one"), "eins")
    again = answer(reply.regenerate(), "uno")
    reply.delete_for_owner()
    assert branch(reply.conversation) == ["one", "uno"]
    assert fresh(again).current


def test_deleting_the_first_question_empties_the_conversation():
    reply = answer(ask("one"), "eins")
    reply.parent.delete_for_owner()
    assert branch(reply.conversation) == []
    ask("anew", reply.conversation)
    assert branch(reply.conversation) == ["anew", "queued"]


def test_deleting_cancels_what_is_under_way():
    running = ask("one")
    queued = ask("two", running.conversation)
    generation = claim("here")
    fresh(running).parent.delete_for_owner()
    assert Generation.beat("here") == {generation.pk: True}
    assert Generation.objects.get(message=queued).status == "stopped"


def test_deleting_a_conversation_cancels_what_is_under_way():
    running = ask("one")
    queued = ask("two", running.conversation)
    generation = claim("here")
    running.conversation.delete_for_owner()
    assert Generation.beat("here") == {generation.pk: True}
    assert Generation.objects.get(message=queued).status == "stopped"
    assert not running.conversation.owner.conversations.alive().exists()


@pytest.mark.parametrize("change", ["send", "edit", "regenerate", "branch", "delete", "rename"])
def test_every_change_raises_the_versions_of_conversation_and_sidebar(change):
    reply = answer(ask("one"), "eins")
    answer(reply.regenerate(), "uno")
    conversation = fresh(reply).conversation
    versions = conversation.version, conversation.branch_version, conversation.owner.version
    match change:
        case "send":
            conversation.send("two", "m", reply.gateway)
        case "edit":
            reply.parent.edit("eine", "m", reply.gateway)
        case "regenerate":
            fresh(reply).regenerate()
        case "branch":
            fresh(reply).make_current()
        case "delete":
            fresh(reply).delete_for_owner()
        case "rename":
            conversation.rename("Numbers")
    conversation = fresh(reply).conversation
    assert conversation.version > versions[0]
    assert (conversation.branch_version > versions[1]) is (change not in ("send", "rename"))
    assert (conversation.owner.version > versions[2]) is (change != "branch")


# --- titles -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "title"),
    [
        ("Hello", "Hello"),
        ("  a\n b\t c ", "a b c"),
        ("word " * 20, "word word word word word word word word word word word word…"),
        ("x" * 100, "x" * 60 + "…"),
    ],
)
def test_a_title_is_the_first_words(text, title):
    assert title_from(text) == title


@given(st.text(max_size=200))
def test_property_a_title_is_one_short_line(text):
    title = title_from(text)
    assert len(title) <= TITLE_CHARS + 1
    assert "\n" not in title


def test_a_persons_title_stays():
    conversation = answer(ask("one")).conversation
    conversation.rename("Numbers")
    ask("two", conversation)
    assert Conversation.objects.get().title == "Numbers"


# --- commands that are given once ---------------------------------------------------------------


def once(user, run, key="k", content="text", name="send", target="c"):
    return Command.once(run, user=user, name=name, target=target, key=key, content=content)


@pytest.mark.django_db(transaction=True)
def test_the_same_command_many_times_at_once_runs_once():
    user = rows.person()
    rows.gateway()

    def run():
        return once(User.objects.get(pk=user.pk), lambda: ask("one"))

    answers = at_once(*[run] * 5)
    assert Message.objects.filter(role="user").count() == 1
    assert set(answers) == {Message.objects.get(role="assistant")}


@pytest.mark.parametrize(
    "other", [{"key": "j"}, {"content": "other"}, {"name": "edit"}, {"target": "d"}, {"key": ""}]
)
def test_another_command_runs_too(other):
    user = rows.person()
    first = once(user, lambda: ask("one"))
    assert once(user, lambda: ask("one"), **other) != first


def test_two_people_may_use_one_key():
    first = once(rows.person("ann"), lambda: ask("one"))
    assert once(rows.person("bob"), lambda: ask("one")) != first


def test_a_command_that_was_refused_may_be_given_again():
    user = rows.person()

    def refuse():
        raise Conflict

    with pytest.raises(Conflict):
        once(user, refuse)
    assert once(user, lambda: ask("one")).status == "queued"


# --- people and gateways ------------------------------------------------------------------------


@pytest.mark.django_db(transaction=True)
def test_of_many_first_owners_one_is_made():
    made = at_once(*[lambda n=n: User.create_owner(f"owner{n}", "secret") for n in range(4)])
    assert sorted(type(each).__name__ for each in made) == ["OwnerExists"] * 3 + ["User"]
    owner = User.objects.get()
    assert owner.is_owner
    assert owner.is_staff


def test_there_is_no_first_owner_once_there_is_anybody():
    rows.person()
    with pytest.raises(OwnerExists):
        User.create_owner("owner", "secret")


def test_the_environments_gateways_follow_the_environment(settings):
    facts = {"name": "A", "base_url": "http://one/v1", "key": "sk-1", "currency": "RUB"}
    settings.GATEWAYS = [{"slug": "a", **facts}, {"slug": "b", **facts}]
    own = rows.gateway("own")
    Gateway.sync_environment()
    row = Gateway.objects.get(slug="a")
    row.replace_models(["m"])
    Gateway.objects.filter(slug="a").update(takes_include_usage=False)
    Gateway.sync_environment()
    assert (row.key, first_listed(row, rows.person())) == ("sk-1", "m")
    assert not Gateway.objects.get(slug="a").takes_include_usage
    settings.GATEWAYS = [{"slug": "a", **facts, "base_url": "http://two/v1"}]
    Gateway.sync_environment()
    row = Gateway.objects.get(slug="a")
    assert row.takes_include_usage
    assert not row.language_models.exists()
    assert [g.slug for g in Gateway.objects.usable()] == [own.slug, "a"]


def test_a_gateways_key_is_in_no_row():
    Gateway.sync_environment()
    secret = next(g["key"] for g in settings.GATEWAYS)
    assert secret
    assert secret not in str(list(Gateway.objects.values()))


@pytest.mark.parametrize("name", ["x" * 201, "a\nb", "a\x00b", "a\x1bb"])
def test_a_models_name_is_one_short_line(name):
    with pytest.raises(ValidationError):
        validate_model_name(name)


@pytest.mark.parametrize("name", ["", "gpt-4o", "a/b:c@d", "модель", "x" * 200])
def test_a_models_name_is_opaque(name):
    validate_model_name(name)


def test_a_retry_before_a_waiting_question_begins_anew_and_the_question_is_answered_after_it():
    first = ask()
    claimed = claim()
    rows.save(claimed, "half a")
    second = ask("Next", first.conversation)
    assert Generation.finish(claimed.pk, claimed.fence, CUT)
    assert fresh(second).is_held

    assert fresh(first).retry().pk == first.pk
    assert (fresh(first).text, fresh(first).status) == ("", "queued")
    answer(fresh(first), "whole")
    assert claim().message_id == second.pk
