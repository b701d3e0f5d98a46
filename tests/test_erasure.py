"""Erasing a person: every row goes, the sums stay, and no word is left in the database's files."""

import json
import time
from datetime import timedelta
from pathlib import Path

import pytest
from django.contrib.admin.models import CHANGE, LogEntry
from django.contrib.contenttypes.models import ContentType
from django.db import DatabaseError, transaction
from django.test import Client
from django.utils import timezone

from chat.models import (
    Backup,
    Call,
    Command,
    Conversation,
    Erasure,
    Favourite,
    Feedback,
    Generation,
    Hold,
    Identity,
    Invitation,
    LoginAttempt,
    Message,
    Passkey,
    ReadLog,
    SecondFactor,
    Tally,
    User,
    erasure,
)
from chat.models.budgets import Weight
from chat.models.calls import CallEnd
from chat.models.conversations import Held
from chat.models.read_log import Seen
from chat.sessions import Session
from tests.rows import answer, ask, claim, finish, fresh, person
from tests.script import Hang, Reasoning, usage_of
from tests.services import PostgreSQL
from tests.waiting import until

# --- rows -----------------------------------------------------------------------------------------


@pytest.fixture
def ann(db) -> User:
    """With a row of hers wherever there can be one."""
    ann = person("ann-the-first")
    reply = answer(ask("A private matter"), "A private answer")
    call = Call.begin(reply.generation, reply.gateway, "m", 1)
    end = CallEnd(call.pk, error_message="private", total_tokens=3, cost_nano=5, currency="USD")
    Call.end(end)
    Call.begin_title(reply.conversation, reply.gateway, "m", Weight(1, 1))
    Feedback.give(reply, -1, "A private word")
    Command.once(lambda: reply, user=ann, name="send", key="k")
    Favourite.objects.create(user=ann, gateway=reply.gateway, name="m")
    LoginAttempt.note_failure("Ann-the-First", "10.0.0.1")
    ReadLog.note(person("bob"), "transcript", [Seen(reply.conversation.uuid, ann.key)], "For Ann")
    ReadLog.note(
        ann, "transcript", [Seen(reply.conversation.uuid, User.objects.get(username="bob").key)]
    )
    LogEntry.objects.create(
        user=User.objects.get(username="bob"),
        content_type=ContentType.objects.get_for_model(User),
        object_id=str(ann.pk),
        object_repr="ann-the-first",
        action_flag=CHANGE,
    )
    Passkey.objects.create(user=ann, name="Ann's phone", credential_id="x", credential=b"x")
    Identity.objects.create(user=ann, issuer="https://id.example", subject="ann-the-first")
    SecondFactor.begin(ann)
    invitation, _token = Invitation.make(person("cat"), note="ann-the-first")
    Invitation.objects.filter(pk=invitation.pk).update(used_by=ann)
    Client().force_login(ann)
    return ann


@pytest.mark.django_db
def test_every_row_goes_and_the_sums_stay(ann):
    before = Call.objects.filter(user_key=ann.key).values("purpose", "cost_nano", "total_tokens")
    before = sorted(map(str, before))
    bobs = Client()
    bobs.force_login(User.objects.get(username="bob"))

    receipt = erasure.erase(ann, by=User.objects.get(username="bob"))

    assert not User.objects.filter(username="ann-the-first").exists()
    for model in (Conversation, Message, Generation, Tally, Feedback, Command, Favourite):
        assert not model.objects.exists(), model
    for model in (LoginAttempt, Passkey, Identity, SecondFactor, Invitation):
        assert not model.objects.exists(), model
    assert Session.objects.count() == 1  # Bob's
    kept = Call.objects.filter(user_key=ann.key)
    assert sorted(map(str, kept.values("purpose", "cost_nano", "total_tokens"))) == before
    assert {(c.user, c.message, c.error_message) for c in kept} == {(None, None, "")}
    assert LogEntry.objects.get().object_repr == ann.key.hex[:8]
    by_ann, of_ann = ReadLog.objects.get(reader_key=ann.key), ReadLog.objects.get(owner_key=ann.key)
    assert (by_ann.reader, of_ann.reader, of_ann.why) == (ann.key.hex[:8], "bob", "")
    assert (receipt.key, receipt.calls) == (ann.key, 2)
    assert receipt.tables["chat.Message"] == 2
    assert receipt.tables["sessions.Session"] == receipt.tables["chat.User"] == 1
    stored = json.dumps(list(Erasure.objects.values()), default=str)
    assert "rivate" not in stored
    assert "ann" not in stored


@pytest.mark.django_db
@pytest.mark.parametrize("on", ["person", "conversation"])
def test_whoever_is_held_is_not_erased(ann, on):
    Hold.place(
        "A dispute", None, **{on: {"person": ann, "conversation": ann.conversations.get()}[on]}
    )
    with pytest.raises(Held):
        erasure.erase(ann, by=None)
    assert ann.conversations.count() == 1
    assert not Erasure.objects.exists()


@pytest.mark.django_db
def test_the_last_owner_is_not_erased():
    owner = User.create_owner("root", "a-long-password-1")
    with pytest.raises(erasure.LastOwner):
        erasure.erase(owner, by=owner)
    User.objects.create_superuser("second")
    erasure.erase(owner, by=owner)


@pytest.mark.django_db
def test_a_reply_that_runs_writes_nothing_back_and_its_usage_is_kept(ann):
    ask("Another", ann.conversations.get())
    generation = claim()
    call = Call.begin(generation, generation.gateway, "m", 1)
    erasure.erase(ann, by=None)
    assert not finish(generation, call=call)
    assert Call.objects.get(pk=call.pk).ended_at is not None
    assert not Message.objects.exists()


@pytest.mark.django_db
def test_a_reviewer_who_is_erased_leaves_what_they_judged():
    reply = answer(ask())
    rita = person("rita")
    Feedback.objects.create(message=reply, rating=-1, verdict="wrong", reviewer=rita)
    erasure.erase(rita, by=None)
    assert (Feedback.objects.get().verdict, Feedback.objects.get().reviewer) == ("wrong", None)
    assert fresh(reply).text == "Because."


@pytest.mark.django_db
@pytest.mark.parametrize(
    "change",
    [
        lambda: Erasure.objects.update(calls=0),
        lambda: Erasure.objects.update(by_key="00000000-0000-0000-0000-000000000001"),
        lambda: Erasure.objects.all().delete(),
        lambda: Erasure.objects.get().delete(),
    ],
    ids=["update", "another did it", "delete all", "delete one"],
)
def test_a_receipt_stays_as_it_is(ann, change):
    erasure.erase(ann, by=None)
    with pytest.raises(DatabaseError, match="a receipt stays"), transaction.atomic():
        change()
    # That the files were clean is said once.
    Erasure.objects.update(cleaned_at=timezone.now())
    with pytest.raises(DatabaseError, match="a receipt stays"), transaction.atomic():
        Erasure.objects.update(cleaned_at=timezone.now())


@pytest.mark.django_db
@pytest.mark.parametrize("reader", ["nobody", ""])
def test_no_other_name_takes_the_place_of_an_erased_one_in_the_log(ann, reader):
    with pytest.raises(DatabaseError, match="only added to"), transaction.atomic():
        ReadLog.objects.filter(reader_key=ann.key).update(reader=reader)
    with pytest.raises(DatabaseError, match="only added to"), transaction.atomic():
        ReadLog.objects.filter(owner_key=ann.key).update(why="Another reason")


@pytest.mark.django_db
def test_a_receipt_names_the_backups_that_still_hold_it(ann, tmp_path):
    here = tmp_path / "here.tar.gz"
    here.touch()
    now = timezone.now()
    Backup.note(tmp_path / "before-they-came.tar.gz", ann.date_joined - timedelta(days=1))
    Backup.note(here, now)
    Backup.note(tmp_path / "moved.tar.gz", now + timedelta(seconds=1))
    found = erasure.erase(ann, by=None).backups
    assert [(Path(b["path"]).name, b["is_here"]) for b in found] == [
        ("moved.tar.gz", False),
        ("here.tar.gz", True),
    ]


# --- files ----------------------------------------------------------------------------------------

WORDS = {
    "a name": "xanthippe",
    "a question": "quodlibetic",
    "another question": "яхонтовый",
    "an answer": "zugzwangian",
    "reasoning": "syzygyistic",
    "a title": "phlogistonic",
    "a comment": "brobdingnagian",
    "a system prompt": "флюгельгорн",
    "an earlier text": "antediluvial",
    "a deleted question": "kakistocratic",
}


@pytest.fixture(params=["sqlite", "postgresql"])
def installation(request, start_server):
    """A server that runs on a database of its own, and where its files are."""
    if request.param == "sqlite":
        server = start_server()
        yield server, server.data_dir
        return
    postgresql = PostgreSQL()
    yield start_server(DATABASE_URL=postgresql.url), postgresql.directory / "data"
    postgresql.close()


def where(folder: Path, word: str) -> list[str]:
    """The files that hold the word as it stands in rows, or as it is folded for search."""
    paths = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    found = [path for path in paths if word.encode() in path.read_bytes()]
    # What a server says of who came in is kept beside it, and is no part of the database.
    return [path.relative_to(folder).as_posix() for path in found if path.suffix != ".log"]


@pytest.mark.one_form
def test_no_word_is_left_in_the_files_of_the_database(installation, gateway):
    server, files = installation
    owner = server.visitor().set_up()
    gateway.reply("Of others")
    kept = owner.send("Others stay: rhododendron")
    owner.wait_for_reply(kept, "complete")
    theirs = server.add_user(WORDS["a name"])
    gateway.reply(Reasoning(WORDS["reasoning"]), WORDS["an answer"], usage=usage_of(3, 4))
    gateway.reply("Again", usage=usage_of(1, 1))
    gateway.reply("And deleted")
    first = theirs.send(WORDS["a question"])
    message = theirs.wait_for_reply(first, "complete")["id"]
    theirs.post(f"/m/{message}/edit/", {"text": f"Changed from {WORDS['an earlier text']}"})
    theirs.post(f"/m/{message}/feedback/", {"rating": "-1", "comment": WORDS["a comment"]})
    theirs.post(f"/c/{first}/rename/", {"title": WORDS["a title"]})
    second = theirs.send(f"{WORDS['another question']} " * 40)
    theirs.wait_for_reply(second, "complete")
    theirs.post(f"/c/{second}/parameters/", {"system_prompt": WORDS["a system prompt"]})
    third = theirs.send(WORDS["a deleted question"])
    theirs.wait_for_reply(third, "complete")
    theirs.post(f"/c/{third}/delete/")
    if files != server.data_dir:
        server.manage("shell", "-v0", "-c", SAMPLE)
    held = {what: where(files, word) for what, word in WORDS.items()}
    assert all(held.values()), held

    said = server.manage("erase_person", WORDS["a name"], "--yes")

    left = {(what, name) for what, word in WORDS.items() for name in where(files, word)}
    # PostgreSQL writes over its log's files in its own time, and the command says so.
    log = {(what, name) for what, name in left if name.startswith("pg_wal/")}
    assert left == log
    assert not log or "write-ahead log" in said
    assert "files hold nothing of it" in said
    assert where(files, "rhododendron")
    assert owner.last(kept)["text"] == "Of others"
    assert theirs.get("/").status_code == 302
    calls = "from chat.models import *; print(Call.objects.filter(user=None).count())"
    assert server.manage("shell", "-v0", "-c", calls).strip() == "3"


# So that the planner has samples of it, as it would by itself after a while.
SAMPLE = """
from django.db import connection
connection.cursor().execute("ANALYZE")
connection.cursor().execute("CHECKPOINT")
"""


# --- while a reply runs ---------------------------------------------------------------------------


def test_an_erasure_during_a_stream_ends_the_call_and_the_socket(server, owner, gateway):
    gateway.reply("One ", Hang())
    leaving = server.add_user("leaving")
    conversation = leaving.send("Say something")
    leaving.wait_for_text(conversation, "One ")
    call = gateway.wait_for_request()
    (pk,) = server.row("SELECT id FROM chat_user WHERE username = 'leaving'")
    with leaving.socket() as socket:
        socket.receive()
        began = time.monotonic()
        erased = owner.post(f"/admin/chat/user/{pk}/erase/", {"username": "leaving"})
        assert erased.status_code == 302
        assert "/admin/chat/erasure/" in erased.headers["Location"]
        call.wait_closed()
        assert call.closed_at - began < 2
        assert socket.wait_closed(5) == 4401
    until(lambda: server.row(CALL_ENDED), "the call is ended and kept", 5)
    receipt = owner.get(erased.headers["Location"]).text
    assert "not yet" not in receipt, "the files were cleaned at once"


CALL_ENDED = (
    "SELECT 1 FROM chat_call WHERE user_id IS NULL AND message_id IS NULL AND ended_at IS NOT NULL"
)
