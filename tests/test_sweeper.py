"""Who is taken for dead: only an owner that could have written for the whole lease and did not."""

import asyncio
import threading
from contextlib import closing, suppress

import pytest
from django.conf import settings
from django.db import DatabaseError, InterfaceError, OperationalError, connection, transaction
from django.db.backends.signals import connection_created

from chat.models import Generation
from chat.replies import sweeper
from chat.replies.database import bound_transactions
from chat.replies.sweeper import Sweeper
from tests.rows import COMPLETE, ask, claim, database_away, finish, fresh, save, wait_no_longer_than
from tests.waiting import until

pytestmark = pytest.mark.django_db(transaction=True)


class Watch:
    """A sweeper that looks when told; its log has `rest` beyond any row."""

    def __init__(self, rest: tuple[str, str] = ("", "")) -> None:
        self.rest = rest
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._sweeper = asyncio.run_coroutine_threadsafe(self._make(), self._loop).result()

    async def _make(self) -> Sweeper:
        made = Sweeper(self._seal)
        made._task.cancel()  # the looks are the test's
        return made

    async def _seal(self, base: object) -> tuple[str, str]:
        return self.rest

    def look(self, times: int = 1) -> None:
        for _ in range(times):
            self._sweeper.look()

    @property
    def lease(self) -> int:
        """So many looks without a heartbeat are a lease."""
        return round(settings.LEASE_S / self._sweeper._every_s)

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


@pytest.fixture
def watch():
    with closing(Watch()) as watch:
        yield watch


@pytest.fixture
def generation() -> Generation:
    ask()
    return claim("somewhere else")


def test_an_owner_whose_heart_stands_still_for_the_lease_is_dead(watch, generation):
    watch.look(watch.lease)
    assert fresh(generation.message).status == "streaming"
    watch.look()
    assert fresh(generation.message).status == "interrupted"
    assert Generation.objects.get().error_kind == "crash"


def test_a_heartbeat_begins_the_lease_anew(watch, generation):
    for _ in range(3):
        watch.look(watch.lease)
        Generation.beat("somewhere else")
    assert fresh(generation.message).status == "streaming"


def test_time_in_which_nobody_can_write_does_not_count(watch, generation):
    watch.look(watch.lease)
    wait_no_longer_than(10)
    with database_away():
        for _ in range(3):
            with pytest.raises(OperationalError):
                watch.look()
    connection.close()
    assert fresh(generation.message).status == "streaming"


def test_what_the_log_has_beyond_the_row_is_kept(watch, generation):
    save(generation, "Be", reasoning="h")
    watch.rest = ("m", "cause.")
    watch.look(watch.lease + 1)
    reply = fresh(generation.message)
    assert (reply.reasoning, reply.text) == ("hm", "Because.")
    row = Generation.objects.get()
    assert (row.saved_reasoning, row.saved_text) == (2, 8)


def test_the_dead_write_nothing_more(watch, generation):
    watch.look(watch.lease + 1)
    assert save(generation, "late") == [generation.pk]
    assert not finish(generation, COMPLETE)
    assert (fresh(generation.message).text, fresh(generation.message).status) == ("", "interrupted")


def test_one_that_beats_in_the_last_moment_lives(generation):
    """Between the look and the mark."""
    pulse = Generation.pulses()[generation.pk]
    Generation.beat("somewhere else")
    assert not Generation.give_up(generation.pk, pulse)
    assert fresh(generation.message).status == "streaming"


def test_one_that_has_ended_stays_as_it_ended(watch, generation):
    watch.look(watch.lease)
    finish(generation, COMPLETE)
    watch.look(2)
    assert fresh(generation.message).status == "complete"


def test_two_who_look_mark_once(generation):
    with closing(Watch(("", "once"))) as one, closing(Watch(("", "once"))) as two:
        for watch in (one, two):
            watch.look(watch.lease)
        for watch in (one, two):
            watch.look()
    assert fresh(generation.message).text == "once"


def test_one_that_is_frozen_within_a_transaction_is_given_up(settings, generation):
    """It holds its rows until PostgreSQL ends what it began; SQLite has no other process."""
    settings.LEASE_S = 1
    holds, thawed = threading.Event(), threading.Event()

    def freeze() -> None:
        with suppress(DatabaseError, InterfaceError), transaction.atomic():
            save(generation, "half")
            holds.set()
            thawed.wait(30)
        connection.close()

    bound_transactions()
    frozen = threading.Thread(target=freeze)
    if connection.vendor == "postgresql":
        frozen.start()
        holds.wait(10)
    with closing(Watch()) as watch:
        until(
            lambda: watch.look() or fresh(generation.message).status == "interrupted",
            "the reply is given up",
        )
    thawed.set()
    if frozen.ident:
        frozen.join(10)
    connection_created.disconnect(dispatch_uid="bound transactions")
    assert fresh(generation.message).text == ""


def test_looks_are_often_enough_for_what_is_promised():
    """Noticed within 15 s, with the heartbeat's own second."""
    assert sweeper.MOST_BETWEEN_LOOKS_S * 2 + settings.LEASE_S + 1 <= 15


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_a_look_and_a_checkpoint_of_several_replies_never_wait_for_each_other(order):
    """In which order either takes the rows."""
    replies = [(ask(), claim())[1] for _ in range(2)]
    pks = [reply.pk for reply in replies]

    def look() -> None:
        Generation.touch(pks)
        connection.close()

    looking = threading.Thread(target=look)
    with transaction.atomic():
        save(replies[order[0]], "one")
        looking.start()
        looking.join(1 if connection.vendor == "sqlite" else 10)
        # SQLite has one writer, and nobody who would look for others.
        assert connection.vendor == "sqlite" or not looking.is_alive()
        save(replies[order[1]], "two")
    looking.join(30)
    assert {fresh(reply.message).text for reply in replies} == {"one", "two"}
