"""Warnings of budgets: once each in a period, by mail and webhook, with nothing waiting for them."""

import json
import threading
from collections.abc import Iterator
from datetime import date
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import StreamRequestHandler, ThreadingTCPServer

import pytest
from django.core import mail
from django.utils import timezone

from chat.models import Allowance, Budget, Notice, Price
from chat.models.budgets import Weight
from chat.models.notices import WAITS
from chat.replies import courier
from tests.charges import USED, begin, budget, claim, end, price, through
from tests.rows import ask
from tests.server import free_port

__all__ = ["price"]  # a fixture: what a token costs
pytestmark = pytest.mark.django_db
HOOK = "https://hooks.example/one"


@pytest.fixture(autouse=True)
def sends_mail(settings):
    settings.SENDS_MAIL = True
    settings.EMAIL_BACKEND = "django.core.mail.backends.locmem.EmailBackend"


def spend(nano: int) -> None:
    ask()
    running = claim(prompt=1, reply=1)
    end(running, begin(running), **USED | {"cost_nano": nano})


def told() -> list[tuple[int, str]]:
    return list(Notice.objects.order_by("id").values_list("percent", "address"))


def test_each_percentage_is_told_once_to_each_address():
    budget(1000, is_hard=False, emails="a@example.org, b@example.org", webhook=HOOK)
    spend(490)
    assert told() == []
    spend(20)
    assert told() == [(50, HOOK), (50, "a@example.org"), (50, "b@example.org")]
    spend(100)
    assert len(told()) == 3
    spend(300)
    spend(300)
    spend(300)
    assert [percent for percent, _ in told()] == [50] * 3 + [80] * 3 + [100] * 3


def test_of_what_is_passed_on_the_way_nobody_is_told():
    budget(1000, is_hard=False, webhook=HOOK)
    spend(900)
    assert told() == [(80, HOOK)]


def test_a_new_period_is_told_anew():
    budget(1000, is_hard=False, webhook=HOOK)
    spend(600)
    Allowance.objects.update(starts_on="2020-01-01")
    spend(600)
    assert told() == [(50, HOOK), (50, HOOK)]


def test_a_refusal_is_the_hundredth_percent_unless_only_what_runs_holds_it():
    budget(1000, webhook=HOOK)
    spend(490)
    ask()
    running = claim(prompt=100, reply=300)
    ask()
    assert claim(prompt=100, reply=300) is None
    assert told() == []
    end(running, begin(running), **USED | {"cost_nano": 300})
    ask()
    assert claim(prompt=100, reply=300) is None
    assert told() == [(50, HOOK), (100, HOOK)]


def test_the_person_whom_it_bounds_is_told_and_without_a_mail_server_only_the_webhook(settings):
    ask()
    own = budget(1000, is_hard=False, is_each=True, emails="a@example.org", webhook=HOOK)
    who = Allowance.of([own], claim(1, 1).user)[0].user
    type(who).objects.update(email="ann@example.org")
    spend(600)
    assert told() == [(50, HOOK), (50, "a@example.org"), (50, "ann@example.org")]
    settings.SENDS_MAIL = False
    spend(300)
    assert told()[3:] == [(80, HOOK)]


def test_a_notice_is_taken_by_one_and_tried_so_often():
    budget(1000, is_hard=False, webhook=HOOK)
    spend(600)
    for tries in range(1, len(WAITS) + 1):
        (notice,) = Notice.take_due()
        assert notice.attempts == tries
        assert Notice.take_due() == []
        Notice.objects.exclude(due_at=None).update(due_at=timezone.now())
    assert Notice.take_due() == []


def test_what_was_sent_is_not_sent_again():
    budget(1000, is_hard=False, webhook=HOOK)
    spend(600)
    (notice,) = Notice.take_due()
    notice.note_sent()
    assert Notice.objects.get().sent_at is not None
    assert Notice.take_due() == []


def notice_of(made: Budget, address: str = HOOK, **facts: object) -> Notice:
    allowance = Allowance.objects.create(budget=made, starts_on=made.starts_on, **facts)
    return Notice.objects.create(allowance=allowance, percent=80, address=address)


def test_a_mail_says_whose_how_much_and_until_when():
    made = budget(100 * 10**9, is_hard=False)
    notice = notice_of(made, "a@example.org", spent_nano=80 * 10**9)
    message = courier._mail(notice)
    assert message.subject == "Budget of everybody, day: 80 % used"
    assert "₽80.00 of ₽100.00" in message.body.replace("RUB\xa0", "₽")
    assert "It begins anew on" in message.body
    assert message.extra_headers["Message-ID"] == courier._mail(notice).extra_headers["Message-ID"]
    message.send()
    assert mail.outbox[0].to == ["a@example.org"]


def test_a_person_reads_of_their_own_limit_in_their_language():
    ask()
    who = claim(1, 1).user
    who.language, who.email = "ru", "ann@example.org"
    who.save()
    made = budget(1000 * 10**9, user=who, contact="Ann at the desk")
    notice = notice_of(made, "ann@example.org", spent_nano=1_234_560_000_000)
    assert "1\xa0234,56\xa0₽" in courier._mail(notice).body
    assert "Ann at the desk" in courier._mail(notice).body


def test_a_person_reads_when_it_begins_anew_by_their_own_clock(settings):
    settings.TIME_ZONE = "Europe/Moscow"
    ask()
    who = claim(1, 1).user
    who.time_zone, who.email = "Asia/Tokyo", "ann@example.org"
    who.save()
    made = budget(1000, user=who, emails="a@example.org")
    allowance = Allowance.objects.create(budget=made, starts_on=date(2026, 11, 1))
    own, other = (
        courier._mail(Notice(pk=1, allowance=allowance, percent=80, address=address)).body
        for address in ("ann@example.org", "a@example.org")
    )
    assert "It begins anew on Nov. 2, 2026, 6 a.m." in own
    assert "It begins anew on Nov. 2, 2026, midnight" in other


# --- over the wire --------------------------------------------------------------------------------


class Hook(ThreadingHTTPServer):
    """A server that takes webhooks; it answers with these statuses, then with 200."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Hooked)
        self.got: list[dict] = []
        self.statuses: list[int] = []
        self.url = f"http://127.0.0.1:{self.server_port}/budget"


class _Hooked(BaseHTTPRequestHandler):
    server: Hook

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.got.append(json.loads(body))
        self.send_response(self.server.statuses.pop(0) if self.server.statuses else 200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_args: object) -> None:
        pass


@pytest.fixture
def hook() -> Iterator[Hook]:
    with Hook() as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


class Post(StreamRequestHandler):
    """One conversation with a mail server that takes everything."""

    def handle(self) -> None:
        self.wfile.write(b"220 post\r\n")
        while line := self.rfile.readline():
            word = line[:4].upper().strip()
            if word == b"DATA":
                self.wfile.write(b"354 go on\r\n")
                self.server.got.append(b"".join(iter(self.rfile.readline, b".\r\n")))
            self.wfile.write(b"221 bye\r\n" if word == b"QUIT" else b"250 ok\r\n")


@pytest.fixture
def post(settings) -> Iterator[ThreadingTCPServer]:
    """A mail server, which is the settings' own."""
    with ThreadingTCPServer(("127.0.0.1", 0), Post) as server:
        server.got = []
        settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
        settings.EMAIL_HOST, settings.EMAIL_PORT = server.server_address
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.mark.django_db(transaction=True)
async def test_a_mail_goes_through_the_server_of_the_settings(post):
    notice = await courier.in_database(made_notice)("a@example.org")
    await courier._send(notice)
    (got,) = post.got
    assert b"To: a@example.org" in got
    assert b"80 % used" in got
    row = await courier.in_database(Notice.objects.get)()
    assert row.sent_at is not None


@pytest.mark.django_db(transaction=True)
async def test_a_mail_server_that_is_away_is_tried_again(settings):
    settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
    settings.EMAIL_HOST, settings.EMAIL_PORT = "127.0.0.1", free_port()
    notice = await courier.in_database(made_notice)("a@example.org")
    await courier._send(notice)
    row = await courier.in_database(Notice.objects.get)()
    assert (row.sent_at, row.failure != "") == (None, True)
    assert row.due_at is not None


@pytest.mark.django_db(transaction=True)
async def test_a_webhook_gets_the_figures_as_json(hook, settings):
    settings.PRIVATE_WEBHOOKS = True
    notice = await courier.in_database(made_notice)(hook.url)
    await courier._send(notice)
    (got,) = hook.got
    assert (got["event"], got["percent"], got["id"]) == ("budget", 80, notice.pk)
    assert got["money"] == {"spent": "80", "limit": "100", "currency": "RUB"}
    assert got["budget"] == {
        "id": notice.allowance.budget_id,
        "person": None,
        "group": None,
        "period": "day",
        "refuses": True,
    }
    row = await courier.in_database(Notice.objects.get)()
    assert (row.due_at, row.failure) == (None, "")


@pytest.mark.django_db(transaction=True)
async def test_a_webhook_that_fails_is_due_again_and_says_why(hook, settings):
    settings.PRIVATE_WEBHOOKS = True
    hook.statuses = [500]
    notice = await courier.in_database(made_notice)(hook.url)
    await courier._send(notice)
    row = await courier.in_database(Notice.objects.get)()
    assert row.sent_at is None
    assert row.due_at is not None
    assert "500" in row.failure


@pytest.mark.django_db(transaction=True)
async def test_no_webhook_reaches_into_a_private_network_unless_that_is_allowed(hook, settings):
    settings.PRIVATE_WEBHOOKS = False
    for url in (hook.url, hook.url.replace("http:", "https:")):
        notice = await courier.in_database(made_notice)(url)
        await courier._send(notice)
        row = await courier.in_database(Notice.objects.get)()
        assert row.failure.startswith("connection")
        await courier.in_database(Budget.objects.all().delete)()
    assert hook.got == []


def made_notice(url: str) -> Notice:
    made = Budget.objects.create(period="day", is_hard=True, money=Decimal(100), currency="RUB")
    notice = notice_of(made, url, spent_nano=80 * 10**9)
    return Notice.objects.select_related("allowance__budget").get(pk=notice.pk)


def test_a_weight_costs_nothing_where_its_price_is_in_another_currency():
    price = Price.objects.get(gateway=through())
    assert Weight(10, 10, price).cost_nano("RUB") == 20
    assert Weight(10, 10, price).cost_nano("USD") is None
