"""Conversations by the thousand, to look at the admin with and to measure it. Made by SQL alone.

They belong to people named demo-1, demo-2, ... who can't log in, and are added to what is there.
"""

from collections.abc import Iterator
from itertools import product
from typing import Any

from django.core.management.base import BaseCommand, CommandParser
from django.core.management.color import no_style
from django.db import connection, transaction
from django.db.models import Max

from chat.models import (
    Call,
    Conversation,
    DayTally,
    Feedback,
    Gateway,
    Generation,
    Message,
    Tally,
    User,
)
from chat.rendering.words import spread

TITLE_CHARS = 60
MESSAGES = 10  # in each conversation, questions and replies by turns
BATCH = 5_000
CONVERSATIONS_A_PERSON = 200
SPAN_S = 2 * 365 * 24 * 3600
SUBJECTS = ["Река", "Ёжик", "Договор", "A river", "The invoice", "Запрос", "The function", "Погода"]
VERBS = ["впадает в", "ищет", "считает", "looks for", "returns", "объясняет", "меняет", "compares"]
OBJECTS = ["озеро", "туман", "таблицу", "a mountain", "the result", "ответ", "a number", "сроки"]
MODELS = ["gpt-4o", "claude-sonnet", "deepseek-chat", "gemini-flash", "qwen-max", "mistral-large"]


class Command(BaseCommand):
    help = "Add demonstration conversations of ten messages each, as many as asked for."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--conversations", type=int, default=1_000)

    def handle(self, *args: Any, **options: Any) -> None:
        wanted: int = options["conversations"]
        people = _people(wanted)
        gateway = Gateway.objects.order_by("pk").first() or Gateway.objects.create(
            slug="demo-seed", name="Demo", base_url="http://127.0.0.1:9/v1", enabled=False
        )
        _texts()
        for first in range(0, wanted, BATCH):
            count = min(BATCH, wanted - first)
            with transaction.atomic(), connection.cursor() as cursor:
                for statement in _batch(count, first, wanted, people, gateway):
                    cursor.execute(statement)
            self.stdout.write(f"{first + count:,} of {wanted:,} conversations")
        Tally.rebuild()
        DayTally.rebuild()
        with connection.cursor() as cursor:
            models = [Conversation, Message, Generation, Call, Feedback]
            for statement in connection.ops.sequence_reset_sql(no_style(), models):
                cursor.execute(statement)
            cursor.execute("ANALYZE")


def _people(wanted: int) -> list[int]:
    count = max(1, wanted // CONVERSATIONS_A_PERSON)
    known = set(
        User.objects.filter(username__startswith="demo-").values_list("username", flat=True)
    )
    names = [f"demo-{number}" for number in range(1, count + 1)]
    User.objects.bulk_create(
        [User(username=name, password="!") for name in names if name not in known],  # noqa: S106
        BATCH,
    )
    rows = User.objects.filter(username__in=names[:500]).order_by("pk")
    return list(rows.values_list("pk", flat=True))


def _texts() -> None:
    """What they say, with the words that search knows it by, under 0, 1, 2, ..."""
    sentences = [" ".join(each) + "." for each in product(SUBJECTS, VERBS, OBJECTS)]
    rows = []
    for number in range(len(sentences)):
        text = " ".join(sentences[(number * 7 + step * 61) % len(sentences)] for step in range(16))
        rows.append((number, text, spread(text), spread(text[:TITLE_CHARS])))
    with connection.cursor() as cursor:
        cursor.execute("DROP TABLE IF EXISTS demo_text")
        cursor.execute(
            "CREATE TEMPORARY TABLE demo_text (k integer PRIMARY KEY, text text, words text,"
            " title_words text)"
        )
        cursor.executemany("INSERT INTO demo_text VALUES (%s, %s, %s, %s)", rows)


def _batch(
    count: int, first: int, wanted: int, people: list[int], gateway: Gateway
) -> Iterator[str]:
    """Statements that add `count` conversations, the oldest first; every name in them is ours."""
    c, m, g = (
        (model.objects.aggregate(last=Max("pk"))["last"] or 0)
        for model in (Conversation, Message, Generation)
    )
    calls = Call.objects.aggregate(last=Max("pk"))["last"] or 0
    uuid = _by_vendor("lower(hex(randomblob(16)))", "gen_random_uuid()")
    age = f"(({wanted - first} + 1 - i) * {SPAN_S // wanted} + ({MESSAGES} - j) * 60)"
    yield "DROP TABLE IF EXISTS demo_row"
    # One row a message: its key, its conversation's, its reply's generation, who, when, which text.
    yield f"""
        CREATE TEMPORARY TABLE demo_row AS
        WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {count}),
        t(j) AS (SELECT 1 UNION ALL SELECT j + 1 FROM t WHERE j < {MESSAGES})
        SELECT i, j, {c} + i AS conversation, {m} + (i - 1) * {MESSAGES} + j AS message,
        {g} + (i - 1) * {MESSAGES // 2} + j / 2 AS generation,
        {calls} + (i - 1) * {MESSAGES // 2} + j / 2 AS call,
        {people[0]} + ({first} + i) % {len(people)} AS owner,
        (({first} + i) * 31 + j * 17) % {len(SUBJECTS) * len(VERBS) * len(OBJECTS)} AS k,
        ({first} + i) % {len(MODELS)} AS model, {_ago(age)} AS at, {_ago(f"({age} - 5)")} AS ended,
        {_ago(f"({age} - 0.3 - (i * 31 + j * 17) % 40 / 10.0)")} AS first,
        CASE WHEN j % 2 = 0 AND (i * 7 + j) % 97 = 0 THEN 'failed' ELSE 'complete' END AS status
        FROM n CROSS JOIN t
    """  # noqa: S608
    model = "CASE model " + " ".join(f"WHEN {n} THEN '{name}'" for n, name in enumerate(MODELS))
    model += " END"
    error = "CASE WHEN status = 'failed' THEN 'server' ELSE '' END"
    group = "CASE owner % 3 WHEN 0 THEN 'sales' WHEN 1 THEN 'support' ELSE '' END"
    no = "false"
    yield f"""
        INSERT INTO chat_conversation (id, uuid, owner_id, title, title_source, version,
        branch_version, created_at, active_at)
        SELECT conversation, {uuid}, owner, substr(text, 1, {TITLE_CHARS}), 'words', 1, 1, at, ended
        FROM demo_row JOIN demo_text USING (k) WHERE j = 1
    """  # noqa: S608
    yield f"""
        INSERT INTO chat_message (id, uuid, conversation_id, parent_id, chosen_id, current, role,
        text, reasoning, status, model, gateway_id, generation_id, links, version, created_at)
        SELECT message, {uuid}, conversation, CASE WHEN j > 1 THEN message - 1 END,
        CASE WHEN j < {MESSAGES} THEN message + 1 END, true,
        CASE j % 2 WHEN 1 THEN 'user' ELSE 'assistant' END, text, '', status,
        CASE j % 2 WHEN 1 THEN '' ELSE {model} END,
        CASE j % 2 WHEN 0 THEN {gateway.pk} END, CASE j % 2 WHEN 0 THEN generation END,
        '[]', 1, at FROM demo_row JOIN demo_text USING (k)
    """  # noqa: S608
    yield f"""
        INSERT INTO chat_generation (id, kind, message_id, conversation_id, user_id, gateway_id,
        status, owner, fence, heartbeat, stop_requested, base_reasoning, base_text,
        saved_reasoning, saved_text, timings, finish_reason, error_kind, error_message,
        error_reason, queued_at, claimed_at, first_delta_at, ended_at)
        SELECT generation, 'send', message, conversation, owner, {gateway.pk}, status, 'demo', 1, 0,
        {no}, 0, 0, 0, length(text), '', 'stop', {error}, '', '', at, at, first, ended
        FROM demo_row JOIN demo_text USING (k) WHERE j % 2 = 0
    """  # noqa: S608
    yield f"""
        INSERT INTO chat_call (id, generation_id, message_id, gateway_id, gateway_slug, user_id,
        user_key, user_group, purpose, attempt, model, request_id, http_status, finish_reason,
        error_kind, error_message, started_at, first_delta_at, ended_at, prompt_tokens,
        completion_tokens, total_tokens, usage_raw, confidence, cost_nano, currency, cost_confidence)
        SELECT call, generation, message, {gateway.pk}, '{gateway.slug}', owner, u.key, {group},
        'reply', 1, {model}, '', 200, 'stop', {error}, '', at, first, ended,
        100 + j, 200 + k, 300 + j + k, '', 'exact', 1000000 * (j + k),
        CASE WHEN i % 3 = 0 THEN 'RUB' ELSE 'USD' END, 'exact'
        FROM demo_row JOIN chat_user u ON u.id = owner WHERE j % 2 = 0
    """  # noqa: S608
    yield f"UPDATE chat_conversation SET leaf_id = {m} + (id - {c}) * {MESSAGES} WHERE id > {c}"  # noqa: S608
    yield """
        INSERT INTO chat_feedback (message_id, rating, comment, created_at, verdict, note)
        SELECT message, CASE WHEN i % 300 = 0 THEN 1 ELSE -1 END, '', ended, '', ''
        FROM demo_row WHERE j = 2 AND i % 100 = 0
    """
    yield from _indexed()


def _indexed() -> Iterator[str]:
    sources = [
        ("message", "words", "demo_row JOIN demo_text USING (k)"),
        ("-conversation", "title_words", "demo_row JOIN demo_text USING (k) WHERE j = 1"),
    ]
    for key, words, source in sources:
        yield _by_vendor(
            f"INSERT INTO chat_search (rowid, owner, words) SELECT {key}, owner, {words}"  # noqa: S608
            f" FROM {source}",
            f"INSERT INTO chat_search (id, words, vector) SELECT {key}, {words},"  # noqa: S608
            f" array_to_tsvector(ARRAY['@' || owner]) || to_tsvector('simple', {words})"
            f" || to_tsvector('russian', {words}) FROM {source}",
        )


def _by_vendor(sqlite: str, postgresql: str) -> str:
    return postgresql if connection.vendor == "postgresql" else sqlite


def _ago(seconds: str) -> str:
    return _by_vendor(
        f"strftime('%Y-%m-%d %H:%M:%f000', 'now', '-' || {seconds} || ' seconds')",
        f"now() - {seconds} * interval '1 second'",
    )
