"""The one writer of running replies: whatever the database does, no word is lost or doubled."""

import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from django.db import OperationalError
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.signals import connection_created

from chat.models import Call, Generation, Message
from chat.models.calls import CallEnd
from chat.models.generations import Outcome
from chat.replies.checkpoints import Writer
from tests.rows import COMPLETE, ask, claim, database_away, fresh
from tests.waiting import until

pytestmark = pytest.mark.django_db(transaction=True)


class Ears:
    """What the writer tells its runner, in order."""

    def __init__(self) -> None:
        self.reports: deque[tuple[int, bool]] = deque()
        self.lost: list[int] = []
        self.stopped: list[int] = []


@pytest.fixture
def ears() -> Ears:
    return Ears()


@contextmanager
def running(ears: Ears) -> Iterator[Writer]:
    writer = Writer(
        "here",
        report=lambda generation, saved: ears.reports.append((generation, saved)),
        lost=ears.lost.append,
        stop=ears.stopped.append,
    )
    writer.start()
    yield writer
    writer.close()
    writer.join(30)


@pytest.fixture
def writer(ears: Ears) -> Iterator[Writer]:
    with running(ears) as writer:
        yield writer


@pytest.fixture
def reply(writer: Writer) -> Message:
    """A reply that the writer has to save."""
    ask()
    generation = claim("here")
    writer.open(generation.pk, generation.fence, (0, 0))
    return generation.message


@contextmanager
def lost_answers(count: int) -> Iterator[list[None]]:
    """The writer's first `count` commits reach the database, and their answers don't come back."""
    left: list[None] = [None] * count

    def wrap(connection: BaseDatabaseWrapper, **_: object) -> None:
        if threading.current_thread().name != "checkpoints" or "_commit" in vars(connection):
            return
        commit = connection._commit

        def commit_and_break() -> None:
            commit()
            if left:
                left.pop()
                raise OperationalError("the line is dead")

        connection._commit = commit_and_break

    connection_created.connect(wrap)
    yield left
    connection_created.disconnect(wrap)


def test_words_are_saved_while_the_reply_runs(writer, reply):
    writer.add(reply.generation_id, "hm", "")
    writer.add(reply.generation_id, "", "Be")
    until(lambda: fresh(reply).text == "Be", "the first words are saved")
    assert fresh(reply).reasoning == "hm"
    assert fresh(reply).status == "streaming"


def test_the_end_saves_the_rest(writer, reply):
    writer.add(reply.generation_id, "", "Because.")
    assert writer.end(reply.generation_id, COMPLETE, None).result(10)
    assert (fresh(reply).text, fresh(reply).status) == ("Because.", "complete")


def test_many_words_of_many_replies_are_all_saved(writer):
    replies = []
    for _ in range(5):
        replies.append(ask())
        generation = claim("here")
        writer.open(generation.pk, generation.fence, (0, 0))
    for number in range(200):
        for reply in replies:
            writer.add(reply.generation_id, "", f"{number} ")
    for reply in replies:
        assert writer.end(reply.generation_id, COMPLETE, None).result(10)
        assert fresh(reply).text == "".join(f"{number} " for number in range(200))


def test_a_reply_that_is_not_ours_any_more_is_told(writer, ears, reply):
    Generation.sweep([])
    writer.add(reply.generation_id, "", "late")
    until(lambda: ears.lost, "the loss is told")
    assert not writer.end(reply.generation_id, COMPLETE, None).result(10)
    assert (fresh(reply).text, fresh(reply).status) == ("", "interrupted")


def test_a_wish_to_stop_is_told(writer, ears, reply):
    fresh(reply).stop()
    until(lambda: ears.stopped, "the wish is told")
    assert ears.stopped[0] == reply.generation_id
    writer.end(reply.generation_id, Outcome("stopped"), None).result(10)


def test_the_writer_shows_that_it_lives(writer, reply):
    until(lambda: fresh(reply).generation.heartbeat > 0, "a heartbeat")


def test_words_wait_for_a_database_that_is_away(writer, ears, reply):
    with database_away():
        for number in range(50):
            writer.add(reply.generation_id, "", f"{number} ")
        until(lambda: ears.reports, "the reader is told that it isn't saved", 5)
        writer.add(reply.generation_id, "", "end")
        assert list(ears.reports) == [(reply.generation_id, False)]
    until(lambda: len(ears.reports) == 2, "the reader is told that it is saved")
    assert ears.reports[1] == (reply.generation_id, True)
    assert writer.end(reply.generation_id, COMPLETE, None).result(10)
    assert fresh(reply).text == "".join(f"{number} " for number in range(50)) + "end"


def test_an_end_waits_for_a_database_that_is_away(writer, reply):
    with database_away():
        writer.add(reply.generation_id, "", "Because.")
        done = writer.end(reply.generation_id, COMPLETE, None)
        with pytest.raises(TimeoutError):
            done.result(1)
    assert done.result(10)
    assert (fresh(reply).text, fresh(reply).status) == ("Because.", "complete")


def test_an_end_waits_for_what_came_after_a_failed_checkpoint(ears):
    """What failed is sent again as it was, and what came meanwhile must not be left behind."""
    ask()
    generation = claim("here")
    with lost_answers(1) as left, running(ears) as writer:
        writer.open(generation.pk, generation.fence, (0, 0))
        writer.add(generation.pk, "", "one ")
        until(lambda: not left, "the first answer is lost")
        writer.add(generation.pk, "", "two")
        assert writer.end(generation.pk, COMPLETE, None).result(10)
    assert fresh(generation.message).text == "one two"


@pytest.mark.parametrize("lost", [1, 3])
def test_a_lost_answer_doubles_nothing(lost, ears):
    """The transaction is committed, and the line breaks before the writer hears of it."""
    ask()
    generation = claim("here")
    with lost_answers(lost) as left, running(ears) as writer:
        writer.open(generation.pk, generation.fence, (0, 0))
        for word in "one two three four".split():
            writer.add(generation.pk, "", word)
            until(lambda word=word: word in fresh(generation.message).text, f"{word} is saved")
        assert writer.end(generation.pk, COMPLETE, None).result(10)
    assert left == []
    assert fresh(generation.message).text == "onetwothreefour"
    assert ears.lost == []


def test_a_reply_whose_conversation_is_gone_is_lost_though_nothing_comes(writer, reply, ears):
    """Nobody would be told to stop it otherwise, where the bell was not heard."""
    until(lambda: Generation.objects.get().heartbeat > 0, "the writer beats")
    assert not ears.lost
    reply.conversation.delete()
    until(lambda: ears.lost, "the reply is given up")


def test_what_the_database_will_never_take_keeps_no_reply_from_its_end(writer, reply):
    """PostgreSQL has no NUL in its JSON; SQLite takes that, and all of it is there."""
    call = Call.begin(reply.generation, reply.gateway, "m", 1)
    link = {"url": "https://example.org/", "title": "\0"}
    end = CallEnd(call.pk, prompt_tokens=3, confidence="exact", links=(link,))
    writer.add(reply.generation_id, "", "words")
    assert writer.end(reply.generation_id, COMPLETE, end).result(10)
    reply = fresh(reply)
    assert (reply.status, reply.text) == ("complete", "words")
    assert reply.calls.get().prompt_tokens == 3
