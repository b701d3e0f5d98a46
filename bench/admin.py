"""How long pages take with much in them, a person's and the admin's, and how many queries they ask.

python -m bench.admin [conversations]    (100,000 of ten messages each unless told), both databases

Each is asked once before it is measured: what a process does for the first time it does once.

On a machine that does something else as well, only the CPU time says much: the process's own and that
of PostgreSQL's process for it, of helpers of which it is left out.
"""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from datetime import date
from functools import partial
from pathlib import Path
from typing import Any

from asgiref.sync import async_to_sync

from bench._measure import cpu_s, percentile

CONVERSATIONS = 100_000
ROUNDS = 12
BUDGETS = 60  # each of them for each person
LIMIT_MS = 300
# The targets of this project, of the 95th part in a hundred.
CONVERSATION_MS, SIDEBAR_MS, SEARCH_MS, SEND_MS = 50, 20, 100, 30

PAGES = {
    "conversations": "/admin/chat/conversation/",
    "  far back": "",
    "  errors only": "/admin/chat/conversation/?status=errors",
    "  of a model": "/admin/chat/conversation/?model=qwen",
    "  of a model that is nowhere": "/admin/chat/conversation/?model=nowhere",
    "  of an owner": "/admin/chat/conversation/?owner=demo-7",
    "  thumbs down": "/admin/chat/conversation/?rating=down",
    "  that cost more than any": "/admin/chat/conversation/?cost_from=999&currency=USD",
    "  with a word that is everywhere": "/admin/chat/conversation/?q=река",
    "  with two words": "/admin/chat/conversation/?q=ёжик+озеро",
    "  with a word that is nowhere": "/admin/chat/conversation/?q=needle",
    "a transcript": "",
    "calls": "/admin/chat/call/",
    "calls of a model": "/admin/chat/call/?model_name=qwen",
    "calls, added up": "/admin/chat/call/?sum=1",
    "spending": "/admin/spend/?days=30",
    "spending of today": "/admin/spend/?days=1",
    "spending of a year": "",
    "spending on a model": "/admin/spend/?days=30&model=qwen-max",
    "calls of a person, from there": "",
    "feedback": "/admin/chat/feedback/",
    "running now": "/admin/chat/generation/",
    "people": "/admin/chat/user/",
    "  by cost": "/admin/chat/user/?o=-4",
    "  by cost, of all the time": "/admin/chat/user/?o=-4&days=all",
    "  by last activity": "/admin/chat/user/?o=-8",
    "groups": "/admin/auth/group/",
    "budgets": "/admin/chat/budget/",
    "a budget": "",
    "gateways": "/admin/chat/gateway/",
    "a gateway": "",
    "models": "/admin/chat/languagemodel/",
    "prices": "/admin/chat/price/",
    "readings": "/admin/chat/readlog/",
    "what retention would take: half of all": "/admin/chat/retention/due/",
    "a person to be erased": "",
    "conversations as CSV, the first bytes": "/admin/chat/conversation/export.csv",
    "conversations as JSONL": "/admin/chat/conversation/export.jsonl",
    "  found by a word": "/admin/chat/conversation/export.csv?q=река",
    "calls as CSV": "/admin/chat/call/export.csv",
    "calls of a model as JSONL": "/admin/chat/call/export.jsonl?model=qwen-max",
    "a person's own search": "/search/?q=река",
}
HTMX = {"HX-Request": "true"}
ASKED = {"text": "Why is that so?", "model": "qwen-max", "gateway": "demo-seed"}


def measure(conversations: int) -> None:
    """In a process whose settings name the database."""
    import django

    django.setup()
    from django.conf import settings
    from django.core.management import call_command
    from django.db import connection
    from django.test import Client
    from django.test.utils import CaptureQueriesContext

    from chat.admin.spans import Span
    from chat.allocator import keep
    from chat.models import Allowance, Budget, Conversation, Gateway, Rate, Retention, User

    # Not setup_test_environment(): it keeps a copy of what each template was given, 5 ms a page.
    settings.ALLOWED_HOSTS = ["testserver"]
    storage = {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"}
    settings.STORAGES = settings.STORAGES | {"staticfiles": storage}
    settings.STATIC_ROOT.mkdir(exist_ok=True)
    call_command("migrate", verbosity=0)
    if not Conversation.objects.exists():
        began = time.monotonic()
        with Path(os.devnull).open("w") as nowhere:
            call_command("seed_demo", conversations=conversations, stdout=nowhere)
        print(f"made in {time.monotonic() - began:.0f} s")
    # What is older than a year is due, half of everything; and a converted total is shown.
    half = {"idle_days": 365, "deleted_days": 30}
    Retention.objects.update_or_create(group=None, defaults=half)
    Rate.objects.get_or_create(
        currency="USD", into="RUB", defaults={"rate": 90, "day": date(2020, 1, 1)}
    )
    if not Budget.objects.exists():
        use_budgets(Budget, Allowance, list(User.objects.all()))
    Gateway.objects.filter(slug=ASKED["gateway"]).update(
        enabled=True
    )  # nothing runs that would ask
    owner, root = Client(), Client()
    asker = User.objects.get(username="demo-7")
    owner.force_login(asker)
    root.force_login(
        User.objects.filter(username="root").first() or User.objects.create_superuser("root")
    )
    asked = iter(asker.conversations.alive()[: ROUNDS + 1])
    here = asker.conversations.alive().last().get_absolute_url()
    pages: dict[str, tuple[Callable[[], Any], float]] = {
        "a conversation": (lambda: owner.get(here), CONVERSATION_MS),
        "the sidebar": (lambda: owner.get("/conversations/", headers=HTMX), SIDEBAR_MS),
        "a send": (
            lambda: owner.post(f"{next(asked).get_absolute_url()}messages/", ASKED),
            SEND_MS,
        ),
    }
    year, month = Span.lasting(366), Span.lasting(30)
    person = User.objects.get(username="demo-1").key.hex
    addresses = PAGES | {
        "spending of a year": f"/admin/spend/?from={year.first}&to={year.last}",
        "calls of a person, from there": (
            f"/admin/chat/call/?user={person}&started_at_from={month.first}"
        ),
        "a budget": f"/admin/chat/budget/{Budget.objects.first().pk}/change/",
        "a gateway": f"/admin/chat/gateway/{Gateway.objects.first().pk}/change/",
        "a person to be erased": f"/admin/chat/user/{asker.pk}/erase/",
        "  far back": far_back(Conversation),
        "a transcript": f"/admin/chat/conversation/{Conversation.objects.first().pk}/change/",
    }
    for name, address in addresses.items():
        most = SEARCH_MS if "?q=" in address and "admin" in address else LIMIT_MS
        pages[name] = (partial(begin, root, address), most)
    print(
        f"| {connection.vendor} | median ms | p95 ms | at most | CPU ms, median | p95 | queries |\n"
        "|---|--:|--:|--:|--:|--:|--:|"
    )
    keep()  # as the server does once it is ready

    def cpu() -> tuple[int | None, float]:
        """PostgreSQL's process for us, and seconds of both; an export ends its connection."""
        line = connection.connection if connection.vendor == "postgresql" else None
        backend = line.info.backend_pid if line and not line.closed else None
        return backend, time.process_time() + (cpu_s(backend) if backend else 0)

    for name, (ask, most) in pages.items():
        times, work = [], []
        ask()
        for _ in range(ROUNDS):
            with CaptureQueriesContext(connection) as queries:
                began, (backend, worked) = time.perf_counter(), cpu()
                answer = ask()
                times.append((time.perf_counter() - began) * 1000)
                after, done = cpu()
                # Of another process of PostgreSQL's nothing is known: its part is left out then.
                if after == backend:
                    work.append((done - worked) * 1000)
            assert answer.status_code in (200, 303), (name, answer.status_code)
        p95 = percentile(times, 0.95)
        print(
            f"| {name.strip()} | {percentile(times, 0.5):.0f} | {p95:.0f}"
            f" | {most:g}: {'holds' if p95 <= most else 'MISSED'}"
            f" | {told(work, 0.5)} | {told(work, 0.95)} | {len(queries)} |",
            flush=True,
        )


def told(work: list[float], share: float) -> str:
    return f"{percentile(work, share):.0f}" if work else "—"


def begin(client: Any, address: str) -> Any:
    """A page, or the first bytes of what is streamed."""
    answer = client.get(address)
    if answer.streaming:
        async_to_sync(first)(answer.streaming_content)
    return answer


async def first(chunks: AsyncIterator[bytes]) -> bytes:
    return await anext(aiter(chunks))


def use_budgets(budgets: Any, allowances: Any, people: list[Any]) -> None:
    """Three that bound everybody, the others a group; of each everybody has used something."""
    group = budgets._meta.get_field("group").related_model.objects.create(name="many")
    periods = ("day", "week", "month")
    made = budgets.objects.bulk_create(
        budgets(
            period=periods[number % 3],
            group=None if number < len(periods) else group,
            is_each=True,
            tokens=1_000_000,
        )
        for number in range(BUDGETS)
    )
    rows = (
        allowances(budget=b, user=person, starts_on=b.starts_on, spent_tokens=1_000 * (n % 97))
        for b in made
        for n, person in enumerate(people)
    )
    allowances.objects.bulk_create(rows, 1_000)


def far_back(conversations: Any) -> str:
    """A page in the middle of the list."""
    from chat.admin.keyset import _key

    count = conversations.objects.count()
    row = conversations.objects.order_by("-active_at", "-pk")[count // 2]
    return f"/admin/chat/conversation/?p=o{_key(row, 'active_at')}"


def main(conversations: int) -> None:
    from tests.services import PostgreSQL

    server = PostgreSQL()
    try:
        for url in ("", server.url):
            with tempfile.TemporaryDirectory(prefix="potok-bench-") as data_dir:
                env = os.environ | {
                    "DJANGO_SETTINGS_MODULE": "chat.settings",
                    "POTOK_DATA_DIR": os.environ.get("BENCH_DIR") or data_dir,
                    **({"DATABASE_URL": url} if url else {}),
                }
                subprocess.run(
                    [sys.executable, "-m", "bench.admin", "--measure", str(conversations)],
                    env=env,
                    check=True,
                    cwd=Path(__file__).parent.parent,
                )
    finally:
        server.close()


if __name__ == "__main__":
    arguments = sys.argv[1:]
    if arguments[:1] == ["--measure"]:
        measure(int(arguments[1]))
    else:
        main(int(arguments[0]) if arguments else CONVERSATIONS)
