"""What runs now: what the list tells of it, and who may stop it."""

import logging
from datetime import timedelta

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from chat.models import Generation, ReadLog
from chat.models.people import ROLES
from tests import people, rows

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("plain_static")]
LIST = "/admin/chat/generation/"


def browser(role):
    return people.browser(people.of_role(role, f"a-{role}"))


def running(text="Why?"):
    """A reply that was claimed a minute and a half ago."""
    reply = rows.ask(text)
    generation = rows.claim()
    moment = timezone.now() - timedelta(seconds=90)
    Generation.objects.filter(pk=generation.pk).update(claimed_at=moment)
    return reply, generation


def shown(client, **query):
    answer = client.get(LIST, query)
    assert answer.status_code == 200
    return answer.content.decode()


# --- stopping -----------------------------------------------------------------------------------


@pytest.mark.parametrize("role", ROLES)
def test_owners_and_administrators_stop_a_reply_and_nobody_else(role):
    _reply, generation = running()
    client = browser(role)
    url = reverse("admin:chat_generation_stop", args=[generation.pk])
    may = role in ("owner", "administrator")
    assert client.post(url).status_code == (302 if may else 403)
    generation.refresh_from_db()
    assert generation.stop_requested is may
    if role not in ("analyst", "member"):
        assert ("formaction" in shown(client)) is may


def test_a_stranger_stops_nothing():
    _reply, generation = running()
    url = reverse("admin:chat_generation_stop", args=[generation.pk])
    assert Client().post(url)["Location"].startswith("/login/")
    generation.refresh_from_db()
    assert not generation.stop_requested


def test_a_stop_is_posted_and_noted_without_a_word_of_the_reply(caplog):
    _reply, generation = running("A private question")
    client = browser("administrator")
    url = reverse("admin:chat_generation_stop", args=[generation.pk])
    assert client.get(url).status_code == 405
    with caplog.at_level(logging.INFO, "chat.security"):
        answer = client.post(url, follow=True)
    assert "The reply is being stopped." in answer.content.decode()
    (noted,) = [record for record in caplog.records if record.message == "reply_stopped"]
    facts = (noted.by, noted.user, noted.generation)
    assert facts == ("a-administrator", "ann", generation.pk)


def test_a_queued_reply_is_stopped_at_once():
    reply = rows.ask()
    generation = reply.generation
    browser("owner").post(reverse("admin:chat_generation_stop", args=[generation.pk]))
    generation.refresh_from_db()
    assert generation.status == "stopped"
    assert rows.fresh(reply).status == "stopped"


def test_what_has_ended_is_left_as_it_is():
    reply = rows.answer(rows.ask())
    url = reverse("admin:chat_generation_stop", args=[reply.generation.pk])
    assert "It had ended already." in browser("owner").post(url, follow=True).content.decode()
    assert rows.fresh(reply).status == "complete"


def test_a_reply_that_is_none_is_not_found():
    client = browser("owner")
    for pk in ("0", "nonsense"):
        assert client.post(f"{LIST}{pk}/stop/").status_code == 404


# --- what is told -------------------------------------------------------------------------------


def test_age_speed_and_silence_are_told():
    _reply, generation = running()
    # Three seconds after the claim there were 10 characters, and 210 four seconds later.
    rows.save(generation, "x" * 10, ms=3_000)
    rows.save(generation, "x" * 200, ms=7_000)
    claimed = Generation.objects.get(pk=generation.pk).claimed_at
    Generation.objects.update(first_delta_at=claimed + timedelta(seconds=3))
    page = shown(browser("owner"))
    assert "0:01:3" in page
    assert ">210<" in page
    # 210 characters in the four seconds since the first of them.
    assert ">52<" in page or ">53<" in page
    assert "silent for 8" in page


def test_a_reply_that_speaks_is_not_silent():
    _reply, generation = running()
    rows.save(generation, "x", ms=85_000)
    assert "silent" not in shown(browser("owner"))


def test_an_owner_whose_heart_stands_still_is_told_at_the_second_look(settings):
    settings.LEASE_S = 0.000001
    running()
    client = browser("owner")
    silent = "its process doesn&#x27;t answer"
    assert silent not in shown(client)
    assert silent in shown(client)
    Generation.beat("here")
    assert silent not in shown(client)
    # Within a lease a heart that stands says nothing.
    settings.LEASE_S = 3_600
    assert silent not in shown(client)


def test_what_was_interrupted_of_late_is_listed_apart():
    _reply, generation = running("Cut short")
    Generation.give_up(generation.pk)
    client = browser("owner")
    assert "Cut short" not in shown(client)
    page = shown(client, state="interrupted")
    assert "Cut short" in page
    assert "interrupted: crash" in page
    assert "formaction" not in page
    Generation.objects.update(ended_at=timezone.now() - timedelta(days=8))
    assert "Cut short" not in shown(client, state="interrupted")


def test_a_list_that_renews_itself_shows_no_title_and_logs_no_reading():
    running("A private question")
    client = browser("reviewer")
    page = shown(client, live="1")
    assert '<meta http-equiv="refresh" content="5">' in page
    assert "A private question" not in page
    assert not ReadLog.objects.exists()
    page = shown(client)
    assert "http-equiv" not in page
    assert "A private question" in page
    assert ReadLog.objects.count() == 1


def test_the_list_costs_no_query_more_for_each_reply(django_assert_max_num_queries):
    for number in range(6):
        running(f"Question {number}")
    client = browser("owner")
    shown(client)
    with django_assert_max_num_queries(9):
        shown(client)
