"""Search: what enters the index, what leaves it and when, and that no query costs too much."""

import pytest
from django.db import OperationalError, connection, connections

from chat.apps import keep_triggers
from chat.models import Message, search
from chat.models.conversations import Conversation
from chat.models.generations import Outcome
from tests.rows import answer, ask, claim, finish, gateway, person, save

pytestmark = pytest.mark.django_db


def found(query, owner=None, **more):
    """The texts and, in brackets, the titles that a query finds."""
    texts = []
    for hit in search.search(query, owner, **more):
        if hit.message:
            texts.append(Message.objects.get(pk=hit.message).text)
        else:
            texts.append([Conversation.objects.get(pk=hit.conversation).title])
    return texts


def excerpts(query):
    hits = [hit for hit in search.search(query) if hit.message]
    return ["".join(piece.text for piece in hit.snippet) for hit in hits]


def in_messages(query, owner=None, **more):
    return [text for text in found(query, owner, **more) if isinstance(text, str)]


@pytest.mark.parametrize(
    "query",
    ["ежик", "ЁЖИК тумане", '"в тумане"', "туман", "тумана", "100%", "foo", "bar baz", "foo-bar"],
)
def test_a_question_is_found_from_its_commit_on(query):
    ask("Ёжик в тумане, на 100%, foo-bar_baz")
    ask("Something else")
    assert in_messages(query) == ["Ёжик в тумане, на 100%, foo-bar_baz"]


@pytest.mark.parametrize(
    "query", ["", "   ", "%", "_", '"', "'", "\\", "*", "NEAR(", "в тумане лес"]
)
def test_what_is_no_word_or_isnt_there_finds_nothing(query):
    ask("Ёжик в тумане")
    assert found(query) == []


@pytest.mark.parametrize(
    "query", ['rivers" OR "x', "a:*", "words:x", "-x", "^x", "x NEAR y", "b|c&!d"]
)
def test_a_query_has_no_language_but_words(query):
    """Whatever it is, it is words that must all be there."""
    ask("Plain words")
    assert found(query) == []


def test_a_reply_is_found_once_it_has_ended_and_never_before():
    ask("Question")
    running = claim()
    save(running, "The answer has a needle")
    assert in_messages("needle") == []
    finish(running)
    assert in_messages("needle") == ["The answer has a needle"]


@pytest.mark.parametrize("status", ["stopped", "failed", "interrupted"])
def test_what_had_arrived_of_a_reply_that_ended_badly_is_found(status):
    answer(ask("Question"), "A needle so far", Outcome(status))
    assert in_messages("needle") == ["A needle so far"]


MARKED = """## What *needles* are

Some **bold needle** with a [link](https://haystack.example/a) and `code`, $5.

| a | b |
|--|--|
| 1 | 2 |
"""


def test_the_excerpt_of_a_reply_is_what_its_reader_sees():
    answer(ask("**Which** needle?"), MARKED)
    reply, question = excerpts("needle")
    assert reply == "What needles are Some bold needle with a link and code, $5. a b 1 2"
    # A question is shown as it was written.
    assert question == "**Which** needle?"


def test_the_excerpt_of_what_no_reader_sees_is_as_it_was_written():
    answer(ask("Question"), MARKED)
    (excerpt,) = excerpts("haystack")
    assert "[link](https://haystack.example/a)" in excerpt


def test_a_continued_reply_is_found_by_all_of_it():
    reply = answer(ask("Question"), "The first half", Outcome("interrupted"))
    reply.go_on()
    running = claim()
    save(running, " and the second")
    finish(running)
    assert in_messages("first second") == ["The first half and the second"]


def test_a_title_is_found_by_its_present_words():
    conversation = ask("Old words").conversation
    conversation.rename("Новое имя")
    assert found("имя") == [["Новое имя"]]
    assert found("old") == ["Old words"]
    conversation.take_title("A model's")  # a person's title stays
    assert found("имя") == [["Новое имя"]]


def test_a_question_that_is_reworded_before_it_is_asked_is_found_by_its_new_words():
    reply = answer(ask("First"))
    waiting = ask("Typo", reply.conversation)
    waiting.parent.edit("Mended", "m", gateway("second"))
    assert in_messages("typo") == []
    assert in_messages("mended") == ["Mended"]


def test_a_deleted_message_takes_all_that_follows_out():
    reply = answer(ask("A needle"), "A needle as well")
    answer(ask("Another needle", reply.conversation), "The last needle")
    last = reply.conversation.branch().filter(role="user").last()
    last.delete_for_owner()
    assert in_messages("needle") == ["A needle as well", "A needle"]


def test_a_deleted_conversation_is_out_even_if_its_reply_ends_later():
    conversation = ask("A needle").conversation
    running = claim()
    save(running, "The needle's answer")
    conversation.delete_for_owner()
    finish(running, Outcome("stopped"))
    assert found("needle") == []


def test_rows_that_are_removed_leave_no_entry():
    conversation = answer(ask("A needle"), "Another needle").conversation
    conversation.delete()
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM chat_search")
        assert cursor.fetchone() == (0,)


def test_a_table_that_a_migration_rebuilt_gets_its_triggers_again():
    if connection.vendor != "sqlite":
        return  # PostgreSQL alters tables in place
    with connection.cursor() as cursor:
        cursor.execute("DROP TRIGGER chat_search_message")
    keep_triggers(using=connection.alias)
    test_rows_that_are_removed_leave_no_entry()


def test_a_text_that_is_put_again_has_one_entry_by_its_last_words():
    question = ask("A needle").parent
    question.text = "A straw"
    question.save()
    for _time in range(2):
        search.put_new(question)
        assert in_messages("needle") == []
        assert in_messages("straw") == ["A straw"]
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM chat_search")
        assert cursor.fetchone() == (2,)  # and its title's


def test_nobody_finds_what_is_anothers():
    mine = ask("A shared needle").conversation
    Conversation.start(person("bob"), "Another needle", "m", mine.messages.last().gateway)
    assert {str(text) for text in found("needle", mine.owner_id)} == {
        "A shared needle",
        "['A shared needle']",
    }
    # The owner's mark is no word of the text.
    assert found(str(mine.owner_id)) == []


@pytest.mark.parametrize("count", [2, search.BEGINNINGS, search.BEGINNINGS + 1])
def test_a_beginning_finds_all_words_that_share_it(count):
    ask("The oldest haystack")
    for number in range(2):
        ask(" ".join(f"haystack{number}x{n}" for n in range(count)))
    ask("A hay")
    owner = Message.objects.first().conversation.owner_id
    for whose in (None, owner):
        assert [text.split()[0] for text in in_messages("haystack", whose)] == [
            "haystack1x0",
            "haystack0x0",
            "The",
        ]
    assert in_messages("oldest-haystack") == ["The oldest haystack"]


@pytest.mark.parametrize(("before", "after"), [(2, 0), (0, 2), (1, 30), (30, 1), (30, 30)])
def test_the_newest_are_found_however_far_back_they_lie(before, after):
    """PostgreSQL looks among the newest entries first, then goes by the words or through all."""
    conversation = ask("Start").conversation

    def put(texts):
        rows = [Message(conversation=conversation, role="user", text=text) for text in texts]
        search.put_messages([row.pk for row in Message.objects.bulk_create(rows)])

    put(f"Needle {number}" for number in range(4))
    put(f"Straw {number}" for number in range(before))
    put(["Needle 4"])
    put(f"Straw {number}" for number in range(after))
    newest_first = [f"Needle {number}" for number in (4, 3, 2, 1, 0)]
    for limit in (2, 5, 10):
        assert in_messages("needle", limit=limit) == newest_first[:limit]


def test_a_search_goes_on_where_it_ended():
    for number in range(5):
        answer(ask(f"Needle {number}"), "An answer")
    first = [hit for hit in search.search("needle", limit=2) if hit.message]
    second = search.search("needle", below=first[-1].message, limit=2)
    assert [found("needle", limit=2)[2:], [h.snippet[-1].text for h in second]] == [
        ["Needle 4", "Needle 3"],
        [" 2", " 1"],
    ]


def test_conversations_are_found_by_titles_and_messages():
    one = ask("A needle").conversation
    two = ask("Something").conversation
    two.rename("The needle's")
    ask("Else")
    question = one.messages.get(role="user")
    assert search.conversations("needle") == {one.pk: question.pk, two.pk: None}
    (passage,) = search.passages("needle", [question.pk]).values()
    assert "".join(piece.text for piece in passage) == "A needle"


def test_rebuilding_finds_the_same():
    answer(ask("A needle"), "Another needle")
    before = found("needle")
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM chat_search")
    assert found("needle") == []
    assert search.rebuild() == 3
    assert found("needle") == before


def test_a_query_that_takes_too_long_is_given_up(settings):
    ask("A needle")
    endless = {
        "sqlite": "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n)"
        " SELECT max(i) FROM n",
        "postgresql": "SELECT pg_sleep(60)",
    }
    with pytest.raises(search.TooSlow), search.in_time(0.05), connection.cursor() as cursor:
        cursor.execute(endless[connection.vendor])
    assert in_messages("needle") == ["A needle"]


def test_any_other_error_stays_what_it_is():
    broken = connections[connection.alias]
    with pytest.raises(OperationalError), search.in_time(1):
        raise OperationalError("away")
    assert broken.is_usable()
