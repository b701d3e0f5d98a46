"""Passwords that are guessed: slowed down by account and address, and nobody is locked out."""

import time
from datetime import timedelta

import pytest
from django.test import RequestFactory
from django.utils import timezone

from chat.models import LoginAttempt, User
from chat.models.logins import ACCOUNT, ADDRESS, CODES, HERE, KEPT, Step
from chat.proxies import behind_proxies
from tests.server import PASSWORD

HOME, ABROAD = "192.0.2.1", "198.51.100.7"


def fail(username, address, times=1, step=Step.PASSWORD):
    for _ in range(times):
        LoginAttempt.note_failure(username, address, step)


def age(by):
    for row in LoginAttempt.objects.all():
        row.at -= by
        row.save()


# --- how often ----------------------------------------------------------------------------------


@pytest.mark.django_db
def test_a_few_mistakes_cost_nothing():
    fail("ann", HOME, HERE.failures - 1)
    assert LoginAttempt.wait_s("ann", HOME) == 0


@pytest.mark.django_db
def test_one_mistake_too_many_has_to_grow_old():
    fail("ann", HOME, HERE.failures)
    wait_s = LoginAttempt.wait_s("ANN", HOME)
    assert HERE.within.total_seconds() - 5 < wait_s <= HERE.within.total_seconds() + 1
    assert LoginAttempt.wait_s("bob", HOME) == 0
    age(HERE.within)
    assert LoginAttempt.wait_s("ann", HOME) == 0


@pytest.mark.django_db
def test_coming_in_forgives_the_mistakes():
    fail("ann", HOME, HERE.failures - 1)
    LoginAttempt.note_success("ann", HOME)
    fail("ann", HOME)
    assert LoginAttempt.wait_s("ann", HOME) == 0


@pytest.mark.django_db
def test_many_accounts_from_one_address_are_too_many():
    for n in range(ADDRESS.failures):
        fail(f"guess {n}", ABROAD)
    assert LoginAttempt.wait_s("ann", ABROAD) > 0
    assert LoginAttempt.wait_s("ann", HOME) == 0


@pytest.mark.django_db
def test_whoever_changes_addresses_does_not_lock_the_owner_out():
    LoginAttempt.note_success("ann", HOME)
    for n in range(ACCOUNT.failures):
        fail("ann", f"203.0.113.{n}")
    assert LoginAttempt.wait_s("ann", ABROAD) > 0
    assert LoginAttempt.wait_s("ann", HOME) == 0


@pytest.mark.django_db
def test_codes_are_counted_apart_and_for_a_day():
    fail("ann", HOME, HERE.failures, Step.CODE)
    assert LoginAttempt.wait_s("ann", HOME) == 0
    assert LoginAttempt.wait_s("ann", HOME, Step.RECOVERY) == 0
    assert LoginAttempt.wait_s("ann", HOME, Step.CODE) > 0
    age(HERE.within)
    assert LoginAttempt.wait_s("ann", HOME, Step.CODE) == 0
    fail("ann", HOME, CODES.failures - HERE.failures, Step.CODE)
    age(HERE.within)
    assert LoginAttempt.wait_s("ann", HOME, Step.CODE) > HERE.within.total_seconds()


@pytest.mark.django_db
def test_whoever_guesses_codes_from_everywhere_does_not_lock_the_owner_out():
    LoginAttempt.note_success("ann", HOME)
    for n in range(CODES.failures):
        fail("ann", f"203.0.113.{n}", step=Step.CODE)
    assert LoginAttempt.wait_s("ann", ABROAD, Step.CODE) > 0
    assert LoginAttempt.wait_s("ann", HOME, Step.CODE) == 0


@pytest.mark.django_db
def test_coming_in_forgives_every_step():
    for step in Step:
        fail("ann", HOME, HERE.failures, step)
    LoginAttempt.note_success("ann", HOME)
    assert {LoginAttempt.wait_s("ann", HOME, step) for step in Step} == {0}


@pytest.mark.django_db
def test_a_network_of_one_host_is_one_address():
    fail("ann", "2001:db8::1", HERE.failures - 1)
    fail("ann", "2001:db8::ffff:2")
    assert LoginAttempt.wait_s("ann", "2001:db8::3") > 0
    assert LoginAttempt.wait_s("ann", "2001:db8:0:1::3") == 0
    fail("bob", "::ffff:192.0.2.9", HERE.failures)
    assert LoginAttempt.wait_s("bob", "192.0.2.9") > 0
    assert LoginAttempt.wait_s("bob", "192.0.2.10") == 0


@pytest.mark.django_db
def test_no_name_and_no_address_is_kept():
    fail("a password in the wrong field", HOME)
    (row,) = LoginAttempt.objects.values_list("account", "address")
    assert all(len(digest) == 64 for digest in row)


@pytest.mark.django_db
def test_old_attempts_are_forgotten():
    fail("ann", HOME, 2)
    LoginAttempt.objects.filter(pk=LoginAttempt.objects.first().pk).update(
        at=timezone.now() - KEPT - timedelta(days=1)
    )
    LoginAttempt.forget_old()
    assert LoginAttempt.objects.count() == 1


@pytest.mark.django_db
def test_a_session_that_was_left_open_guesses_its_password_no_faster(
    client, plain_static, cheap_passwords
):
    new = "a longer horse battery"
    client.force_login(User.objects.create_user("ann", password=PASSWORD))
    fields = {"old_password": "wrong", "new_password1": new, "new_password2": new}
    for _ in range(HERE.failures):
        assert client.post("/password/", fields).status_code == 422
    assert client.post("/password/", fields | {"old_password": PASSWORD}).status_code == 429
    assert User.objects.get().check_password(PASSWORD)


@pytest.mark.django_db
def test_whoever_has_no_password_sets_one_after_a_login_of_late(client, plain_static):
    client.force_login(User.objects.create_user("ann"))
    fields = {"new_password1": PASSWORD, "new_password2": PASSWORD}
    assert client.post("/password/", fields).status_code == 422
    session = client.session
    session["entered_at"] = time.time()
    session.save()
    assert client.post("/password/", fields).status_code == 200
    assert User.objects.get().check_password(PASSWORD)


# --- at a server --------------------------------------------------------------------------------


def test_too_many_wrong_passwords_are_refused_unread(fresh_server):
    fresh_server.visitor().set_up()
    visitor = fresh_server.visitor()
    visitor.get("/login/")
    for _ in range(HERE.failures):
        wrong = visitor.post("/login/", {"username": "owner", "password": "not this one"})
        assert wrong.status_code == 422
    right = visitor.post("/login/", {"username": "owner", "password": "correct horse battery"})
    assert right.status_code == 429
    assert 0 < int(right.headers["Retry-After"]) <= HERE.within.total_seconds() + 1
    assert 'role="alert"' in right.text
    assert "Try again in 5 minutes" in right.text
    assert 'value="owner"' in right.text
    assert visitor.get("/").status_code == 302


# --- whose address it is ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("trusted", "peer", "told", "client"),
    [
        ([], HOME, ABROAD, HOME),
        (["127.0.0.1"], HOME, ABROAD, HOME),
        (["127.0.0.1"], "127.0.0.1", ABROAD, ABROAD),
        (["127.0.0.1"], "::ffff:127.0.0.1", ABROAD, ABROAD),
        (["127.0.0.1"], "127.0.0.1", f"{HOME}, {ABROAD}", ABROAD),
        (["127.0.0.1", "10.0.0.0/8"], "127.0.0.1", f"{HOME}, {ABROAD}, 10.1.2.3", ABROAD),
        (["127.0.0.1"], "127.0.0.1", "", "127.0.0.1"),
        (["127.0.0.1"], "127.0.0.1", "no address", "127.0.0.1"),
        (["localhost"], "127.0.0.1", ABROAD, ABROAD),
        (["unix"], "", ABROAD, ABROAD),
        ([], "", ABROAD, ""),
    ],
)
def test_a_forwarded_address_is_believed_of_trusted_proxies_only(
    trust, trusted, peer, told, client
):
    trust(trusted)
    request = RequestFactory().get("/", REMOTE_ADDR=peer, HTTP_X_FORWARDED_FOR=told)
    behind_proxies(lambda request: None)(request)
    assert request.META["REMOTE_ADDR"] == client


def test_a_stranger_cannot_say_that_he_came_over_https(settings, trust):
    settings.SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
    trust(["127.0.0.1"])
    seen = []
    for peer in ("127.0.0.1", HOME):
        request = RequestFactory().get("/", REMOTE_ADDR=peer, HTTP_X_FORWARDED_PROTO="https")
        behind_proxies(lambda request: seen.append(request.scheme))(request)
    assert seen == ["https", "http"]
