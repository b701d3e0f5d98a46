"""The ORM beside the event loop: threads that keep their connections, and notice when these break."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from asgiref.sync import async_to_sync
from django.db import connection
from django.db.backends.signals import connection_created

from chat.models import User
from chat.replies.database import in_database
from tests import rows

pytestmark = pytest.mark.django_db(transaction=True)


@contextmanager
def opened() -> Iterator[list[object]]:
    """The connections that are opened meanwhile."""
    found: list[object] = []

    def note(connection: object, **_more: object) -> None:
        found.append(connection)

    connection_created.connect(note)
    yield found
    connection_created.disconnect(note)


def ask_often() -> None:
    count = async_to_sync(in_database(User.objects.count))
    for _ in range(40):
        assert count() == 0


def test_a_thread_of_ours_keeps_its_connection():
    ask_often()
    with opened() as found:
        ask_often()
    assert found == []


if connection.vendor == "postgresql":  # SQLite has no line that may break

    def test_a_line_that_broke_meanwhile_is_opened_anew():
        ask_often()
        assert rows.break_lines() >= 1
        ask_often()


def test_any_other_thread_is_left_to_django():
    assert not User.objects.exists()
    assert connection.close_at is not None
