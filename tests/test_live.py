"""What a socket is told of a running reply, and what it must not be told too early."""

import asyncio

import pytest

from chat.models import Message
from chat.page import changes
from chat.page.live import LiveReply, Position
from chat.rendering.markdown import OFF_LOOP_CHARS
from chat.replies.log import Cursor, MemoryLogs
from chat.replies.process import process
from tests import rows

pytestmark = pytest.mark.usefixtures("plain_static")
LONG = "[late][far]\n\n" + "word " * OFF_LOOP_CHARS + "\n\n"
FAR = "[far]: https://example.org/\n"


@pytest.fixture
def ended(transactional_db) -> Message:
    """A reply whose row has ended, as a page saw it when it began."""
    message = rows.ask()
    begun = Message(uuid=message.uuid, generation_id=message.generation_id)
    rows.answer(message, LONG + FAR)
    return begun


async def test_a_reply_is_not_done_before_its_last_render_can_be_had(ended):
    """A long one is rendered in a thread, and its watchers wake for other reasons meanwhile."""
    process.logs = logs = MemoryLogs()
    logs.open(Cursor(ended.generation_id))
    reply, news = LiveReply(ended.generation_id, ended), asyncio.Event()
    reply.wakes.add(news.set)
    try:
        logs.append(ended.generation_id, "", LONG)
        position = Position()
        while not position.text:
            await news.wait()
            news.clear()
            _, position = reply.since(position)
        logs.append(ended.generation_id, "", FAR)
        logs.close(ended.generation_id)
        html = ""
        while not reply.is_done:
            await asyncio.sleep(0)
            ops, position = reply.since(position)
            html += "".join(op[5] for op in ops)
        ops, _ = reply.since(position)
        assert "https://example.org/" in html + "".join(op[5] for op in ops)
    finally:
        reply.task.cancel()
        process.logs = None


def followed(*, is_done: bool) -> changes.Followed:
    return changes.Followed(note="", saved=True, is_done=is_done, is_broken=False)


def page_of(message: Message, version: int, **more: object) -> changes.Page:
    return changes.Page(conversation=message.conversation.uuid, version=version, **more)


@pytest.mark.django_db
def test_a_page_has_no_version_whose_last_words_are_still_on_their_way():
    """It would come back with that version, and be sent nothing of the end any more."""
    reply = rows.ask()
    generation = rows.claim()
    version = generation.conversation.version
    rows.save(generation, "Because.")
    rows.finish(generation)
    user, page, key = generation.user_id, page_of(reply, version), str(reply.uuid)

    early = changes.since(user, page, {key: followed(is_done=False)})
    assert (early.page.version, early.ops, early.is_part) == (version, [], True)

    late = changes.since(user, early.page, {key: followed(is_done=True)})
    assert late.page.version > version
    assert {op[0] for op in late.ops} == {"shell", "total", "title"}


@pytest.mark.django_db
def test_a_tab_hears_of_another_conversation_without_being_shown_its_own_again():
    """All tabs of a person hear each bell."""
    reply = rows.ask()
    generation = rows.claim()
    user, key = generation.user_id, str(reply.uuid)
    first = changes.since(user, page_of(reply, generation.conversation.version), {})
    assert [shown.row.pk for shown in first.running] == [reply.pk]
    opened = changes.beside(user, first.page)

    rows.ask("Elsewhere")
    again = changes.since(user, opened.page, {key: followed(is_done=False)})
    assert (again.ops, again.running, again.is_part) == ([], [], True)
    assert [op[0] for op in changes.beside(user, again.page).ops] == ["listed", "limits"]

    reply.conversation.rename("Here")
    here = changes.since(user, again.page, {key: followed(is_done=False)})
    assert {op[0] for op in here.ops} == {"shell", "total", "title"}


@pytest.mark.django_db
def test_what_is_new_in_a_conversation_waits_for_nothing_beside_it():
    reply = rows.ask()
    generation = rows.claim()
    user, page = generation.user_id, page_of(reply, generation.conversation.version)
    found = changes.since(user, page, {})
    assert [shown.row.pk for shown in found.running] == [reply.pk]
    assert not {op[0] for op in found.ops} & {"sidebar", "listed", "limits"}
    assert found.is_part
    rest = changes.beside(user, found.page)
    assert [op[0] for op in rest.ops] == ["sidebar", "limits"]
    assert not changes.since(user, rest.page, {str(reply.uuid): followed(is_done=False)}).is_part


@pytest.mark.django_db
@pytest.mark.parametrize("change", ["article", "thread"])
def test_a_message_that_is_sent_whole_is_followed_from_its_beginning(change):
    """Its text is the row's, and a page may have had more of it."""
    reply = rows.ask()
    generation = rows.claim()
    version = generation.conversation.version
    more = rows.ask(conversation=reply.conversation)
    if change == "thread":
        more.delete_for_owner()
    found = changes.since(generation.user_id, page_of(reply, version), {})
    assert change in {op[0] for op in found.ops}
    assert str(reply.uuid) in found.afresh
    assert [shown.row.pk for shown in found.running] == [reply.pk]
