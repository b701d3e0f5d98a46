"""The part of a long branch that a page holds, and what is asked of the database for it."""

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from chat.models import Conversation
from chat.models.generations import Outcome
from chat.page import changes, window
from chat.page.views import chat, messages
from chat.page.window import ABOVE, MESSAGES, MESSAGES_ANEW, Span
from tests import rows

pytestmark = pytest.mark.django_db


def long(turns: int) -> Conversation:
    """A conversation with two messages a turn."""
    reply = rows.answer(rows.ask("one"), "eins")
    if turns > 1:
        rows.grow(reply.conversation, turns - 1)
    return Conversation.objects.get(pk=reply.conversation_id)


def places(conversation: Conversation, part: window.Window) -> list[int]:
    """Where in the branch its messages stand."""
    order = list(conversation.branch().values_list("pk", flat=True))
    return [order.index(row.pk) for row in part.rows]


@pytest.mark.parametrize("count", [MESSAGES - 2, MESSAGES, MESSAGES + 2, 3 * MESSAGES])
def test_a_page_opens_with_the_newest(count):
    conversation = long(count // 2)
    part = window.newest(conversation)
    assert places(conversation, part) == list(range(max(0, count - MESSAGES), count))
    assert (part.has_earlier, part.has_later) == (count > MESSAGES, False)


def test_going_back_and_forth_meets_every_message_once():
    conversation = long(2 * MESSAGES)
    part = window.newest(conversation)
    found = places(conversation, part)
    while part.earlier:
        part = window.before(conversation, part.earlier)
        found = places(conversation, part) + found
    assert found == list(range(4 * MESSAGES))
    found = places(conversation, part)
    while part.later:
        part = window.after(conversation, part.later)
        found += places(conversation, part)
    assert found == list(range(4 * MESSAGES))


@pytest.mark.parametrize("place", [0, ABOVE, ABOVE + 1, 50, -1])
def test_a_link_leads_to_its_message_with_a_little_of_what_stands_above(place):
    conversation = long(50)
    message = list(conversation.branch())[place]
    found = places(conversation, window.around(conversation, message.uuid))
    place %= 100
    start = max(0, place - ABOVE)
    assert found == list(range(start, min(start + MESSAGES, 100)))


@pytest.mark.parametrize("part", [window.before, window.after, window.around])
def test_what_is_not_on_the_branch_leads_nowhere(part):
    first = rows.answer(rows.ask("one"), "eins")
    again = rows.answer(first.regenerate(), "uno")
    assert part(again.conversation, again.uuid) is not None
    assert part(again.conversation, first.uuid) is None


def test_a_page_keeps_what_it_holds_of_a_branch_that_changes():
    conversation = long(2 * MESSAGES)
    held = window.before(conversation, window.newest(conversation).earlier)
    last = conversation.branch().last()
    rows.answer(last.regenerate(), "uno")
    part = window.anew(conversation, Span(held.earlier, None))
    assert places(conversation, part) == list(range(2 * MESSAGES, 4 * MESSAGES))
    assert part.rows[-1].text == "uno"
    middle = window.anew(conversation, held.span)
    assert [row.pk for row in middle.rows] == [row.pk for row in held.rows]
    assert (middle.earlier, middle.later) == (held.earlier, held.later)


def test_a_page_whose_part_is_gone_shows_the_message_of_the_command_or_the_end():
    conversation = long(2 * MESSAGES)
    messages = list(conversation.branch())
    part = window.anew(conversation, Span(None, rows.ask("elsewhere").uuid))
    assert part.rows[-1].pk == messages[-1].pk
    lost = Span(rows.ask("elsewhere").uuid, None)
    part = window.anew(conversation, lost, messages[50].uuid)
    assert part.rows[ABOVE].pk == messages[50].pk


def test_a_page_that_holds_very_much_begins_anew_with_the_newest():
    conversation = long(MESSAGES_ANEW // 2)
    assert len(window.anew(conversation, window.WHOLE).rows) == MESSAGES_ANEW
    rows.grow(conversation, 1)
    assert len(window.anew(conversation, window.WHOLE).rows) == MESSAGES


@pytest.mark.usefixtures("plain_static")
def test_a_page_hears_of_what_it_holds_and_of_nothing_else():
    conversation = long(2 * MESSAGES)
    held = window.before(conversation, window.newest(conversation).earlier)
    page = changes.Page(
        conversation=conversation.uuid, span=held.span, version=conversation.version
    )
    version = conversation.bump()
    outside, inside = conversation.branch().first(), held.rows[3]
    for message in (outside, inside):
        message.version = version
        message.save(update_fields=["version"])
    found = changes.since(conversation.owner_id, page, {})
    assert [op[1] for op in found.ops if op[0] == "article"] == [str(inside.uuid)]
    assert found.page.version == version


@pytest.mark.usefixtures("plain_static")
def test_what_a_page_asks_does_not_grow_with_its_conversation(rf):
    asked = []
    for turns in (MESSAGES, 10 * MESSAGES):
        conversation = long(turns)
        request = rf.get(conversation.get_absolute_url())
        request.user, request.htmx = conversation.owner, False
        with CaptureQueriesContext(connection) as queries:
            answer = chat.conversation(request, uuid=str(conversation.uuid))
        assert answer.content.count(b"<article") == MESSAGES
        asked.append(len(queries))
    assert asked[0] == asked[1]


def test_a_branch_that_was_chosen_while_a_question_was_sent_has_one_end(rf):
    """Version and end are of one moment: what came after it the socket brings."""
    cut = rows.answer(rows.ask("one"), "eins", Outcome("stopped"))
    known = cut.conversation
    rows.ask("two", Conversation.objects.get(pk=known.pk))
    assert known.leaf_id == cut.pk
    request = rf.post("/")
    request.htmx, request.user = True, known.owner
    answer = messages._thread(request, cut)
    assert answer["Potok-Version"] == str(rows.fresh(cut).conversation.version)
    assert b'name="continue"' not in answer.content
