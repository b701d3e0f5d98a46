"""What people do with all that is theirs: take it away, delete it, be erased; what they are told."""

import io
import json
import zipfile

import pytest
from asgiref.sync import async_to_sync, sync_to_async
from django.db import connection
from django.utils import translation

from chat.models import (
    Conversation,
    Erasure,
    Generation,
    Hold,
    Identity,
    Passkey,
    Retention,
    User,
    search,
)
from chat.rendering import takeout
from tests.people import browser
from tests.rows import answer, ask, claim, fresh, person, queries_of

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("plain_static", "cheap_passwords")]
PASSWORD = "a-long-password-1"


@pytest.fixture
def ann():
    return User.objects.create_user("ann", password=PASSWORD)


@pytest.fixture
def client(ann):
    return browser(ann)


def of_bob():
    bob = person("bob")
    return Conversation.objects.create(owner=bob, title="Of Bob")


async def _read(response):
    return b"".join([chunk async for chunk in response.streaming_content])


@pytest.mark.django_db(transaction=True)
async def test_no_connection_waits_for_a_reader_who_takes_their_time():
    def chunks():
        yield str(User.objects.count()).encode()
        yield str(User.objects.count()).encode()

    read = takeout.streamed(chunks())
    assert await anext(read) == b"0"
    # In the one thread that steps through it.
    assert await sync_to_async(lambda: connection.connection)() is None
    assert [chunk async for chunk in read] == [b"0"]


def test_everything_is_one_download_and_of_nobody_else(ann, client):
    mine, others = answer(ask("A question")).conversation, of_bob()
    response = client.get("/settings/data.zip")
    assert "potok-ann-" in response["Content-Disposition"]
    with zipfile.ZipFile(io.BytesIO(async_to_sync(_read)(response))) as packed:
        text = "".join(packed.read(name).decode() for name in packed.namelist())
        assert f"conversations/{mine.uuid}.json" in packed.namelist()
    assert "A question" in text
    assert str(others.uuid) not in text
    assert "Of Bob" not in text


def test_the_ways_in_are_in_it_and_no_key_is(ann, client):
    keys = {"credential_id": "id-of-it", "credential": b"key-of-it", "rp_id": "chat.example"}
    Passkey.objects.create(user=ann, name="My phone", **keys)
    Identity.objects.create(user=ann, issuer="https://id.example", subject="ann-there")
    Identity.objects.create(user=person("bob"), issuer="https://id.example", subject="bob-there")
    response = client.get("/settings/data.zip")
    with zipfile.ZipFile(io.BytesIO(async_to_sync(_read)(response))) as packed:
        (passkey,) = map(json.loads, packed.read("passkeys.jsonl").splitlines())
        (identity,) = map(json.loads, packed.read("identities.jsonl").splitlines())
    assert (passkey["name"], passkey["rp_id"]) == ("My phone", "chat.example")
    assert set(passkey) == {"name", "rp_id", "made_at", "used_at"}
    assert (identity["issuer"], identity["subject"]) == ("https://id.example", "ann-there")


def test_many_conversations_are_taken_away_in_as_few_queries_as_one(ann, client):
    def take():
        return async_to_sync(_read)(client.get("/settings/data.zip"))

    answer(ask("A question"))
    asked = queries_of(take)
    for number in range(8):
        answer(ask(f"Question {number}"))
    assert queries_of(take) <= asked
    packed = zipfile.ZipFile(io.BytesIO(take()))
    assert sum(name.startswith("conversations/") for name in packed.namelist()) == 9


def test_all_conversations_are_deleted_at_once_and_nobody_elses(ann, client):
    for number in range(3):
        answer(ask(f"Question {number}"))
    running, others = ask("Still running"), of_bob()
    claim()
    version = fresh_of(ann).version
    assert "4 conversations" in client.get("/settings/delete-conversations/").content.decode()
    assert ann.conversations.alive().count() == 4
    page = client.post("/settings/delete-conversations/").content.decode()
    assert "Your conversations are deleted." in page
    assert not ann.conversations.alive().exists()
    assert Conversation.objects.alive().get() == others
    assert Generation.objects.get(message=running).stop_requested
    assert fresh_of(ann).version > version
    # Open pages of theirs are told of each line.
    assert {c.listed_version > version for c in ann.conversations.all()} == {True}
    assert search.search("question", ann.pk) == []


def test_what_is_held_stays_and_that_is_said(ann, client):
    held = answer(ask("Evidence")).conversation
    answer(ask("Other"))
    Hold.place("A dispute", None, conversation=held)
    page = client.post("/settings/delete-conversations/").content.decode()
    assert "1 is under a legal hold and stays." in page
    assert list(ann.conversations.alive()) == [held]


def fresh_of(person):
    return User.objects.get(pk=person.pk)


def test_a_restored_conversation_is_found_again(ann):
    conversation = answer(ask("A singular question"), "A singular reply").conversation
    conversation.delete_for_owner()
    assert search.search("singular", ann.pk) == []
    conversation.restore()
    assert len(search.search("singular", ann.pk)) == 3


@pytest.mark.parametrize("htmx", [False, True])
def test_a_hold_is_told_to_whoever_deletes(ann, client, htmx):
    reply = answer(ask("Evidence"))
    Hold.place("A dispute", None, person=ann)
    headers = {"HX-Request": "true"} if htmx else {}
    for address in (f"/c/{reply.conversation.uuid}/delete/", f"/m/{reply.uuid}/delete/"):
        refused = client.post(address, headers=headers)
        assert refused.status_code == 409
        assert "legal hold" in refused.content.decode()
        assert "A dispute" not in refused.content.decode()
    assert fresh(reply).deleted_at is None
    assert "legal hold stands on what is yours" in client.get("/settings/").content.decode()


@pytest.mark.parametrize(
    ("rule", "told"),
    [
        ({"deleted_days": 30}, "gone for good after 30 days"),
        ({"deleted_days": 1}, "gone for good after 1 day;"),
        ({"idle_days": 90}, "for 90 days is removed"),
        (None, "for as long as this Potok keeps it"),
    ],
)
def test_people_are_told_how_long_what_they_delete_is_kept(ann, client, rule, told):
    Retention.objects.all().delete()
    if rule:
        Retention.objects.create(**rule)
    reply = answer(ask("A question"))
    pages = [client.get("/settings/")]
    if not rule or "deleted_days" in rule:
        pages += [
            client.get(f"/c/{reply.conversation.uuid}/delete/"),
            client.get(f"/m/{reply.uuid}/delete/"),
            client.get("/settings/delete-conversations/"),
        ]
    for page in pages:
        assert told in page.content.decode()


def test_the_toast_after_a_deletion_tells_it_too(ann, client):
    Retention.objects.all().delete()
    Retention.objects.create(deleted_days=5)
    conversation = answer(ask("A question")).conversation
    address = f"/c/{conversation.uuid}/delete/"
    said = client.post(
        address, headers={"HX-Request": "true", "HX-Current-URL": "http://testserver/"}
    )
    assert "Gone for good after 5 days." in said.content.decode()
    assert (
        "Gone for good after 5 days." in client.get(f"/?undo={conversation.uuid}").content.decode()
    )


def test_a_person_erases_themselves_with_their_password(ann, client):
    answer(ask("A question"))
    refused = client.post("/settings/delete-account/", {"password": "wrong"})
    assert refused.status_code == 422
    assert User.objects.filter(pk=ann.pk).exists()
    gone = client.post("/settings/delete-account/", {"password": PASSWORD})
    assert gone["Location"] == "/login/"
    assert gone["Clear-Site-Data"] == '"storage"'
    assert not User.objects.filter(username="ann").exists()
    assert not Conversation.objects.exists()
    assert Erasure.objects.get().is_by_themselves
    assert client.get("/").status_code == 302


def test_whoever_is_held_or_the_last_owner_stays(ann, client):
    hold = Hold.place("A dispute", None, person=ann)
    page = client.post("/settings/delete-account/", {"password": PASSWORD})
    assert page.status_code == 409
    assert "legal hold" in page.content.decode()
    hold.lift(ann)
    User.objects.filter(pk=ann.pk).update(is_superuser=True)
    page = client.post("/settings/delete-account/", {"password": PASSWORD})
    assert page.status_code == 409
    assert "last owner" in page.content.decode()
    assert User.objects.filter(pk=ann.pk).exists()


def test_it_is_told_in_russian_too(ann, client):
    Retention.objects.all().delete()
    Retention.objects.create(deleted_days=3)
    User.objects.filter(pk=ann.pk).update(language="ru")
    with translation.override("ru"):
        page = client.get("/settings/delete-conversations/").content.decode()
    assert "через 3 дня" in page
