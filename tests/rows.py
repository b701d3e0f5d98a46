"""Rows for tests of the models, made as the product makes them."""

import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import TypeVar

import psycopg
from django.db import connection, transaction
from django.db.models import OuterRef, Subquery
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from chat.models import Call, Conversation, Gateway, Generation, Message, User
from chat.models.calls import CallEnd
from chat.models.generations import Checkpoint, Outcome

T = TypeVar("T")
COMPLETE = Outcome("complete", finish_reason="stop")


def person(name: str = "ann") -> User:
    return User.objects.create_user(name)


def gateway(slug: str = "first", **facts: object) -> Gateway:
    return Gateway.objects.create(slug=slug, name=slug, base_url="http://127.0.0.1:9/v1", **facts)


def ask(text: str = "Why?", conversation: Conversation | None = None, **more: object) -> Message:
    """The queued reply to a question in this conversation, else in a new one of `ann`'s."""
    through = Gateway.objects.first() or gateway()
    if conversation is None:
        owner = User.objects.first() or person()
        return Conversation.start(owner, text, "m", through)
    return conversation.send(text, "m", through, **more)


def claim(owner: str = "here") -> Generation:
    generation = Generation.claim(owner)
    assert generation, "nothing is ready to be claimed"
    return generation


def answer(
    reply: Message, text: str = "Because.", outcome: Outcome = COMPLETE, reasoning: str = ""
) -> Message:
    """Have the reply, the oldest that is ready, claimed, saved and ended."""
    generation = claim()
    assert generation.message_id == reply.pk
    save(generation, text, reasoning)
    assert Generation.finish(generation.pk, generation.fence, outcome)
    return fresh(reply)


def save(generation: Generation, text: str, reasoning: str = "", **other: object) -> list[int]:
    """One checkpoint behind what the row holds; the generations that were not the caller's."""
    row = Generation.objects.get(pk=generation.pk)
    facts = {
        "generation": row.pk,
        "fence": generation.fence,
        "saved": (row.saved_reasoning, row.saved_text),
        "reasoning": reasoning,
        "text": text,
        "ms": 0,
    }
    return Generation.checkpoint([Checkpoint(**(facts | other))])


def finish(generation: Generation, outcome: Outcome = COMPLETE, call: Call | None = None) -> bool:
    end = CallEnd(call.pk) if call else None
    return Generation.finish(generation.pk, generation.fence, outcome, end)


def fresh(message: Message) -> Message:
    """The message as the database has it now, with nothing cached."""
    return Message.objects.get(pk=message.pk)


@transaction.atomic
def grow(conversation: Conversation, turns: int, text: str = "Answer {n}.") -> None:
    """So many questions with complete replies at the end of the branch, at once.

    `Question 1`, `Answer 1.` and so on; each reply's call used 3 and 5 tokens for 0.001 RUB.
    """
    conversation.refresh_from_db()
    owner, through = conversation.owner, Gateway.objects.first() or gateway()
    version = conversation.bump(sidebar=True)
    about = {"conversation": conversation, "version": version, "status": "complete"}
    asked = (Message(role="user", text=f"Question {n}", **about) for n in range(1, turns + 1))
    replied = (
        Message(role="assistant", model="m", gateway=through, text=text.format(n=n), **about)
        for n in range(1, turns + 1)
    )
    rows = [row for turn in zip(asked, replied, strict=True) for row in turn]
    Message.objects.bulk_create(rows, 500)
    new = Message.objects.filter(conversation=conversation, version=version)
    beside = Message.objects.filter(conversation=conversation, deleted_at=None, current=True)
    above = beside.filter(pk__lt=OuterRef("pk")).order_by("-pk").values("pk")[:1]
    below = beside.filter(pk__gt=OuterRef("pk")).order_by("pk").values("pk")[:1]
    new.update(parent=Subquery(above))
    beside.filter(chosen=None).update(chosen=Subquery(below))
    replies = list(new.filter(role="assistant").order_by("pk"))
    ended = {"gateway": through, "ended_at": timezone.now()}
    attempt = {"kind": "send", "conversation": conversation, "user": owner, "status": "complete"}
    Generation.objects.bulk_create(
        [Generation(message=reply, finish_reason="stop", **attempt, **ended) for reply in replies],
        500,
    )
    attempts = Generation.objects.filter(message=OuterRef("pk")).values("pk")[:1]
    new.filter(role="assistant").update(generation=Subquery(attempts))
    used = {"prompt_tokens": 3, "completion_tokens": 5, "total_tokens": 8, "confidence": "exact"}
    cost = {"cost_nano": 1_000_000, "currency": "RUB", "cost_confidence": "exact"}
    whose = {"user": owner, "user_key": owner.key, "gateway_slug": through.slug, "model": "m"}
    Call.objects.bulk_create(
        [Call(message=reply, **whose, **used, **cost, **ended) for reply in replies], 500
    )
    conversation.leaf = replies[-1]
    conversation.save(update_fields=["leaf"])


def branch(conversation: Conversation) -> list[str]:
    """The current branch, each message by its text, a reply without one by its status."""
    conversation = Conversation.objects.get(pk=conversation.pk)
    messages = list(conversation.branch())
    assert conversation.leaf == (messages[-1] if messages else None)
    return [message.text or message.status for message in messages]


def at_once(*functions: Callable[[], T]) -> list[T | Exception]:
    """Run these in threads with connections of their own, begun together; results or exceptions."""
    results: list[T | Exception] = [RuntimeError("never ran")] * len(functions)
    start = threading.Barrier(len(functions))

    def run(place: int, function: Callable[[], T]) -> None:
        start.wait(10)
        try:
            results[place] = function()
        except Exception as error:  # noqa: BLE001  (it is the result)
            results[place] = error
        finally:
            connection.close()

    threads = [threading.Thread(target=run, args=each) for each in enumerate(functions)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    return results


def somebody_waits() -> bool:
    """Whether a transaction waits for another one's rows; of SQLite it isn't asked."""
    if connection.vendor == "sqlite":
        return True
    with connection.cursor() as cursor:
        # Else a transaction sees the activity of its first look.
        cursor.execute("SELECT pg_stat_clear_snapshot()")
        cursor.execute(
            "SELECT EXISTS (SELECT 1 FROM pg_stat_activity"
            " WHERE datname = current_database() AND wait_event_type = 'Lock')"
        )
        return bool(cursor.fetchone()[0])


@contextmanager
def database_away() -> Iterator[None]:
    """Somebody else holds the database for himself; who asks meanwhile waits."""
    facts = connection.settings_dict
    if connection.vendor == "sqlite":
        other = sqlite3.connect(facts["NAME"], isolation_level=None, timeout=10)
        take = "BEGIN EXCLUSIVE"
    else:
        where = {name.lower(): facts[name] for name in ("HOST", "PORT", "USER", "PASSWORD")}
        other = psycopg.connect(dbname=facts["NAME"], **where)
        take = "LOCK TABLE chat_generation, chat_message IN ACCESS EXCLUSIVE MODE"
    with closing(other):
        other.execute(take)
        yield
        other.execute("ROLLBACK")


def queries_of(run: Callable[[], object]) -> int:
    """How many queries it asks."""
    with CaptureQueriesContext(connection) as captured:
        run()
    return len(captured)


def break_lines() -> int:
    """End every other connection to this PostgreSQL database: how many there were."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid != pg_backend_pid()"
        )
        return int(cursor.fetchone()[0])


def wait_no_longer_than(ms: int) -> None:
    """For whoever holds the database; on this thread's connection."""
    names = {"sqlite": "PRAGMA busy_timeout =", "postgresql": "SET lock_timeout ="}
    with connection.cursor() as cursor:
        cursor.execute(f"{names[connection.vendor]} {ms}")
