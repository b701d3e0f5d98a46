"""Whose a session is stands beside it: found without reading others', whichever version wrote it."""

from datetime import timedelta
from importlib import import_module

import pytest
from django.contrib.auth import SESSION_KEY
from django.contrib.sessions.models import Session as Before  # as the version before knows them
from django.db import connection
from django.db.migrations.loader import MigrationLoader
from django.db.models.signals import post_init
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from chat.models import User
from chat.models.sessions import BATCH, forget_over, note_users, remove_sessions, sessions_of
from chat.page.rights import users_of
from chat.sessions import NOBODY, Session, SessionStore

pytestmark = pytest.mark.django_db


@pytest.fixture
def ann() -> User:
    return User.objects.create_user("ann")


def log_in(user: User) -> str:
    """The key of a new session of theirs."""
    client = Client()
    client.force_login(user)
    return str(client.session.session_key)


def stored_before(user_id: int | None, count: int = 1) -> list[str]:
    """Rows as the version before writes them: without the column."""
    said = {} if user_id is None else {SESSION_KEY: str(user_id)}
    keys = [SessionStore()._get_new_session_key() for _ in range(count)]
    later, encoded = timezone.now() + timedelta(days=1), SessionStore().encode(said)
    Before.objects.bulk_create(
        Before(session_key=key, session_data=encoded, expire_date=later) for key in keys
    )
    return keys


def owner_of(key: str) -> int | None:
    return Session.objects.values_list("user_id", flat=True).get(pk=key)


def test_a_persons_sessions_are_found_without_reading_others(ann):
    mine = {log_in(ann), log_in(ann)}
    stored_before(ann.pk + 1, 3 * BATCH)
    sessions_of(ann)  # notes whose those are, once
    read: list[str] = []

    def note_row(instance: Session, **kwargs: object) -> None:
        read.append(instance.session_key)

    post_init.connect(note_row, sender=Session)
    try:
        with CaptureQueriesContext(connection) as asked:
            found = {session.key for session in sessions_of(ann)}
    finally:
        post_init.disconnect(note_row, sender=Session)
    assert found == mine
    assert sorted(read) == sorted(mine)
    read_otherwise = [q["sql"] for q in asked if "session_data" in q["sql"]]
    # Whose isn't known, of which there are none left; and hers.
    assert len(read_otherwise) == 2
    assert '"user_id" IS NULL' in read_otherwise[0]
    assert f'"user_id" = {ann.pk}' in read_otherwise[1]


def test_the_database_looks_them_up(ann):
    stored_before(ann.pk + 1, 3 * BATCH)
    note_users(Session.objects.filter(user_id=None))
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute("ANALYZE django_session")
    for theirs in (Session.objects.filter(user_id=None), Session.objects.filter(user_id=ann.pk)):
        assert "django_session_user_id" in theirs.explain()


def test_a_session_is_nobodys_until_the_login_and_then_theirs(ann):
    client = Client()
    session = client.session
    session["seen"] = True
    session.save()
    assert owner_of(session.session_key) == NOBODY
    client.cookies["sessionid"] = session.session_key
    client.force_login(ann)
    assert client.session.session_key != session.session_key
    assert owner_of(client.session.session_key) == ann.pk


def test_what_the_version_before_opens_is_found_and_stays_open(ann):
    """It runs on the new tables while the new version starts."""
    key = log_in(ann)
    row = Before.objects.get(pk=key)
    row.delete()
    Before.objects.create(
        session_key=key, session_data=row.session_data, expire_date=row.expire_date
    )
    assert owner_of(key) is None
    assert users_of([key]) == {key: ann.pk}
    assert [session.key for session in sessions_of(ann)] == [key]
    assert owner_of(key) == ann.pk


def test_what_the_version_before_writes_into_a_session_leaves_whose_it_is(ann):
    key = log_in(ann)
    Before.objects.get(pk=key).save(force_update=True)
    assert owner_of(key) == ann.pk


def as_the_migration() -> None:
    migration = import_module("chat.migrations.0031_session_users")
    before = MigrationLoader(None).project_state([("chat", "0030_session_user")])
    migration.fill(before.apps, connection.schema_editor())


def as_the_models() -> None:
    note_users(Session.objects.filter(user_id=None))


@pytest.mark.parametrize("note", [as_the_migration, as_the_models])
def test_all_sessions_that_there_are_get_their_person(ann, note):
    """In batches; the migration has its own way, which stays as it was."""
    theirs = stored_before(ann.pk, BATCH + 1)
    strangers = stored_before(None, BATCH)
    broken = stored_before(ann.pk)
    Before.objects.filter(pk__in=broken).update(session_data="nothing that was signed")
    note()
    assert set(Session.objects.filter(user_id=ann.pk).values_list("pk", flat=True)) == set(theirs)
    nobodys = Session.objects.filter(user_id=NOBODY).values_list("pk", flat=True)
    assert set(nobodys) == {*strangers, *broken}


def test_all_of_a_person_are_removed_and_none_of_anothers(ann):
    bob = User.objects.create_user("bob")
    log_in(ann)
    over = stored_before(ann.pk)
    Before.objects.filter(pk__in=over).update(expire_date=timezone.now() - timedelta(days=1))
    bobs = log_in(bob)
    assert remove_sessions(ann) == 2
    assert [row.pk for row in Session.objects.all()] == [bobs]


def test_a_session_that_is_over_is_forgotten(ann):
    over, here = log_in(ann), log_in(ann)
    Session.objects.filter(pk=over).update(expire_date=timezone.now() - timedelta(seconds=1))
    forget_over()
    assert [row.pk for row in Session.objects.all()] == [here]
