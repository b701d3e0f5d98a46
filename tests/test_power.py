"""A cut of power, as far as it shows without one: a commit is on the disk before it is believed."""

import pytest
from django.db import connection


@pytest.mark.django_db(transaction=True)
def test_a_commit_waits_for_the_disk():
    """SQLite's default under WAL would lose the last ones, and so would PostgreSQL made quicker."""
    asked = {
        "sqlite": {"PRAGMA journal_mode": "wal", "PRAGMA synchronous": 2},
        "postgresql": {"SHOW synchronous_commit": "on"},
    }
    for query, wanted in asked[connection.vendor].items():
        with connection.cursor() as cursor:
            cursor.execute(query)
            assert cursor.fetchone() == (wanted,), query
