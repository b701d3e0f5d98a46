"""A reply's words changed by a person, and a conversation that goes on elsewhere."""

import pytest

from chat.models import Call, Conversation, Message, Picture, Revision
from chat.models.conversations import Conflict
from chat.models.parameters import Asked
from chat.models.revisions import fork
from chat.models.search import search
from tests.rows import answer, ask, branch, fresh

pytestmark = pytest.mark.django_db
PICTURE = "data:image/gif;base64,R0lGODlhAQABAAAAACw="


# --- a reply's text -----------------------------------------------------------------------------


def test_a_reply_gets_other_words_and_keeps_what_it_said():
    reply = answer(ask("one"), "eins")
    before = fresh(reply)
    usage = list(Call.objects.values())
    Revision.rewrite(before, "zwei")
    Revision.rewrite(fresh(reply), "drei")
    now = fresh(reply)
    assert (now.text, now.status) == ("drei", "complete")
    assert now.edited_at is not None
    assert [revision.text for revision in now.revisions.all()] == ["eins", "zwei"]
    assert list(Call.objects.values()) == usage
    assert now.version > before.conversation.branch_version
    owner = reply.conversation.owner_id
    assert [hit.message for hit in search("drei", owner)] == [reply.pk]
    assert search("eins", owner) == []


def test_the_same_words_are_no_change():
    reply = answer(ask("one"), "eins")
    Revision.rewrite(fresh(reply), "eins")
    assert fresh(reply).edited_at is None
    assert not Revision.objects.exists()


def test_a_question_and_a_reply_that_runs_are_not_rewritten():
    reply = ask("one")
    for message in (reply, reply.parent):
        with pytest.raises(Conflict):
            Revision.rewrite(fresh(message), "other")
    assert not Revision.objects.exists()


# --- forks --------------------------------------------------------------------------------------


def test_a_fork_has_the_way_to_its_message_and_nothing_else():
    first = answer(ask("one"), "eins")
    conversation = first.conversation
    conversation.ask_for(Asked("Be brief.", {"seed": 1}))
    second = answer(ask("two", conversation), "zwei")
    Picture.keep(first.pk, [PICTURE])
    answer(fresh(first).parent.edit("uno", "m", first.gateway), "un")
    answer(ask("three", fresh(second).conversation, parent=second.uuid), "drei")
    before = Message.objects.filter(conversation=conversation).count()
    calls = Call.objects.count()

    copy = fork(fresh(second))
    assert branch(copy.conversation) == ["one", "eins", "two", "zwei"]
    assert copy.conversation.messages.count() == 4
    assert copy.conversation.leaf == copy
    assert copy.conversation.asked == Asked("Be brief.", {"seed": 1})
    assert copy.conversation.forked_from == second
    assert copy.conversation.title == f"{conversation.title} (2)"
    assert (copy.model, copy.gateway, copy.status) == (second.model, second.gateway, "complete")
    assert [picture.kind for picture in copy.conversation.messages.all()[1].pictures.all()] == [
        "GIF"
    ]
    assert Message.objects.filter(conversation=conversation).count() == before
    assert Call.objects.count() == calls
    assert copy.pk in [hit.message for hit in search("zwei", conversation.owner_id)]

    answer(ask("four", copy.conversation), "vier")
    assert branch(copy.conversation)[-2:] == ["four", "vier"]
    fresh(copy).regenerate()
    assert "four" not in branch(copy.conversation)


@pytest.mark.parametrize(
    ("title", "another"),
    [
        ("Ice", "Ice (2)"),
        ("Ice (2)", "Ice (3)"),
        ("Ice in (1990)", "Ice in (1990) (2)"),
        ("x" * 200, "x" * 196 + " (2)"),
    ],
)
def test_a_fork_is_told_from_what_it_was_forked_from(title, another):
    message = answer(ask("one"), "eins")
    Conversation.objects.filter(pk=message.conversation_id).update(title=title)
    assert fork(fresh(message)).conversation.title == another


def test_a_message_on_another_branch_is_forked_with_its_own_way():
    first = answer(ask("one"), "eins")
    answer(fresh(first).parent.edit("uno", "m", first.gateway), "un")
    assert branch(fork(fresh(first)).conversation) == ["one", "eins"]


def test_a_question_is_forked_as_well_and_a_reply_that_runs_is_not():
    reply = ask("one")
    assert branch(fork(fresh(reply.parent)).conversation) == ["one"]
    with pytest.raises(Conflict):
        fork(fresh(reply))


def test_a_long_conversation_is_forked_in_few_queries(django_assert_max_num_queries):
    reply = answer(ask("one"), "eins")
    for number in range(10):
        reply = answer(ask(str(number), reply.conversation), "next")
    message = fresh(reply)
    with django_assert_max_num_queries(30):
        copy = fork(message)
    assert copy.conversation.messages.count() == 22


# --- how many go --------------------------------------------------------------------------------


def test_what_a_deletion_takes_along_is_counted_before():
    first = answer(ask("one"), "eins")
    second = answer(ask("two", first.conversation), "zwei")
    assert fresh(first).reach() == (3, False)
    answer(fresh(second).regenerate(), "deux")
    assert fresh(first).reach() == (4, True)
    assert fresh(first).parent.reach() == (5, True)
    fresh(second).delete_for_owner()
    assert fresh(first).reach() == (3, False)
    assert fresh(second.parent).reach() == (2, False)
    alive = Message.objects.filter(deleted_at=None).count()
    goes, _is_branched = fresh(first).reach()
    fresh(first).delete_for_owner()
    assert Message.objects.filter(deleted_at=None).count() == alive - goes
