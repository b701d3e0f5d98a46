"""The ORM beside the event loop: threads that keep their connections, and notice when these break."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from asgiref.sync import async_to_sync
from django.db import connection, connections
from django.db.backends.signals import connection_created

from chat.models import User
from chat.replies.database import in_database

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
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid != pg_backend_pid()"
            )
            assert cursor.fetchone()[0] >= 1
        ask_often()


def test_a_request_keeps_none(client):
    client.get("/login/")
    assert connections["default"].close_at is not None
