"""What a person meets at a limit: a refusal that keeps the text, and before it what is left."""

from datetime import timedelta
from decimal import Decimal

import pytest
from django.test import Client
from django.utils import timezone, translation

from chat.models import Allowance, Budget, Conversation, Generation, Message, Price, User
from chat.models.budgets import Refusal
from chat.models.generations import Outcome
from chat.rendering import limits
from chat.rendering.errors import told
from chat.replies import weights
from tests.people import browser
from tests.rows import answer, ask, claim, finish, gateway, person

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("plain_static")]
SEND = {"text": "Why is the sky blue?", "model": "m", "gateway": "first"}


@pytest.fixture
def ann() -> User:
    through = gateway(currency="RUB")
    facts = {"model": "m", "currency": "RUB", "prompt": Decimal(100), "completion": Decimal(400)}
    Price.objects.create(gateway=through, **facts)
    return person()


@pytest.fixture
def client(ann) -> Client:
    return browser(ann)


def budget(used: str, limit: str = "1234.56", **facts: object) -> Budget:
    """Of everybody's, a month's, hard."""
    facts = {"is_hard": True, "money": Decimal(limit), "currency": "RUB"} | facts
    made = Budget.objects.create(**facts)
    spent = int(Decimal(used).scaleb(9))
    Allowance.objects.create(budget=made, starts_on=made.starts_on, spent_nano=spent)
    return made


def refused(response, status: int = 429) -> str:
    assert response.status_code == status
    page = response.content.decode()
    assert 'role="alert"' in page
    return page.replace("\xa0", " ")


def test_a_first_question_that_cannot_be_paid_is_refused_with_its_text_kept(client):
    budget("1234.50", contact="Ann, room 5")
    response = client.post("/messages/", SEND)
    page = refused(response)
    assert (
        "The month&#x27;s limit of this installation is reached: RUB 1,234.50 of RUB 1,234.56"
        in page
    )
    assert "It begins anew on" in page
    assert "Ask for more: Ann, room 5." in page
    assert "Why is the sky blue?" in page
    assert 0 < int(response["Retry-After"]) <= 31 * 24 * 3600
    assert not Conversation.objects.exists()


def test_the_same_in_russian_and_for_htmx(client):
    budget("1234.50")
    more = {"headers": {"HX-Request": "true", "Accept-Language": "ru"}}
    response = client.post("/messages/", SEND, **more)
    page = refused(response)
    assert "1 234,50 ₽" in page
    assert "1 234,56 ₽" in page
    assert response["HX-Retarget"] == "#composer-alert"
    assert "<form" not in page


def test_a_question_in_a_conversation_is_refused_and_nothing_is_recorded(client):
    reply = ask()
    budget("1234.56")
    messages = Message.objects.count()
    refused(client.post(f"/c/{reply.conversation.uuid}/messages/", SEND))
    assert Message.objects.count() == messages


def test_a_send_that_was_taken_is_answered_so_again_at_the_limit(client):
    sent = SEND | {"client_key": "once"}
    first = client.post("/messages/", sent)
    budget("1234.56")
    again = client.post("/messages/", sent)
    assert (first.status_code, again.status_code) == (303, 303)
    assert first["Location"] == again["Location"]
    refused(client.post("/messages/", SEND | {"client_key": "another"}))


def test_a_model_without_a_price_is_refused_for_good(client):
    budget("0")
    response = client.post("/messages/", SEND | {"model": "other"})
    page = refused(response, 422)
    assert "can&#x27;t cover this model" in page
    assert "Retry-After" not in response


@pytest.mark.parametrize("command", ["retry", "regenerate", "continue", "edit"])
def test_no_other_command_asks_beyond_the_limit(client, command):
    reply = ask()
    generation = claim()
    Message.objects.filter(pk=reply.pk).update(text="Because")
    finish(generation, Outcome("interrupted", error_kind="connection"))
    budget("1234.56")
    target = reply.parent if command == "edit" else reply
    form = {"text": "Other words"} if command == "edit" else {}
    page = refused(client.post(f"/m/{target.uuid}/{command}/", form))
    assert ("Other words" in page) == (command == "edit")
    assert Generation.objects.count() == 1


def test_what_waits_already_is_weighed_at_its_turn(client):
    """Not when it is told to go now: what runs ahead of it holds its part until it has ended."""
    first = ask()
    waiting = ask("And?", first.conversation)
    claim()
    budget("1234.56")
    assert client.post(f"/m/{waiting.uuid}/retry/").status_code == 303


def test_a_soft_budget_refuses_nobody(client):
    budget("5000", is_hard=False)
    assert client.post("/messages/", SEND).status_code == 303


def test_a_reply_that_was_refused_at_its_turn_says_so_and_can_be_tried_again(client):
    reply = ask()
    budget("1234.50", user=User.objects.get())
    assert Generation.claim("here", weigh=weights.of_generation) is None
    page = client.get(reply.conversation.get_absolute_url()).content.decode().replace("\xa0", " ")
    assert 'data-kind="budget"' in page
    assert "Your limit for the month is reached: RUB 1,234.50 of RUB 1,234.56 are used." in page
    assert 'name="retry"' in page
    error = client.get(f"{reply.conversation.get_absolute_url()}export.json").json()["messages"][-1]
    assert error["error"]["kind"] == "budget"


def test_who_asks_too_fast_is_told_when_to_ask_again(client, settings):
    settings.REQUESTS_A_MINUTE = 2
    assert [client.post("/messages/", SEND).status_code for _ in range(2)] == [303, 303]
    response = client.post("/messages/", SEND)
    page = refused(response)
    assert "Why is the sky blue?" in page
    assert 0 < int(response["Retry-After"]) <= 60
    other = Client()
    other.force_login(person("bob"))
    assert other.post("/messages/", SEND).status_code == 303
    Generation.objects.update(queued_at=timezone.now() - timedelta(minutes=2))
    assert client.post("/messages/", SEND).status_code == 303


# --- before it comes to that ----------------------------------------------------------------------


@pytest.mark.parametrize(("used", "is_shown"), [("900", False), ("1000", True)])
def test_what_is_left_is_shown_at_the_composer_once_it_is_little(client, used, is_shown):
    budget(used)
    page = client.get("/").content.decode().replace("\xa0", " ")
    assert ("RUB 234.56 left until" in page) == is_shown


def test_what_is_used_up_is_said_at_the_composer_before_anything_is_asked(client):
    budget("1234.56", contact="Ann")
    page = client.get("/").content.decode()
    assert "is used up" in page
    assert "Ask for more: Ann." in page


def test_a_forecast_brings_what_is_left_by_then(client):
    budget("1000")
    response = client.post("/forecast/", SEND, headers={"HX-Request": "true"})
    assert '<div id="limits" hx-swap-oob="true">' in response.content.decode()


def test_the_settings_show_every_limit_of_ones_own_and_of_nobody_else(client):
    budget("10")
    budget("20", limit="77", user=person("bob"))
    Budget.objects.create(tokens=5000, is_each=True, period="day")
    page = client.get("/settings/").content.decode().replace("\xa0", " ")
    assert "The month&#x27;s limit of this installation" in page
    assert "Your limit for the day" in page
    assert "0 tokens of 5,000 tokens used, 5,000 tokens left until" in page
    assert "RUB 77" not in page


def test_without_a_budget_there_is_no_word_of_limits(client):
    assert "<h2>Limits</h2>" not in client.get("/settings/").content.decode()
    assert 'class="limit"' not in client.get("/").content.decode()


# --- words ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("scope", ["user", "group", "everyone"])
@pytest.mark.parametrize("period", ["day", "week", "month"])
def test_each_limit_has_a_name_of_its_own(scope, period):
    names = {
        limits.whose(s, p, "sales")
        for s in ("user", "group", "everyone")
        for p in ("day", "week", "month")
    }
    assert len(names) == 9
    assert ("sales" in limits.whose(scope, period, "sales")) == (scope == "group")


def test_tokens_that_running_replies_hold_are_told_apart():
    refusal = Refusal("limit", "user", "", "day", 1000, 700, 200, "", "2026-01-01T00:00+03:00", "")
    with translation.override("en"):
        sentence, advice = limits.told(refusal)
    assert "700 tokens are used and 200 tokens are held" in sentence
    assert advice.endswith("An administrator can raise it.")


def test_an_error_of_another_kind_is_told_as_before():
    reply = ask()
    finish(claim(), Outcome("failed", error_kind="server"))
    reply.refresh_from_db()
    assert told(reply.generation).kind == "server"


def test_a_page_that_refuses_shows_the_conversation_as_it_is(ann, client, settings):
    """Not as it would have become: what was cut last can be gone on with."""
    cut = answer(ask("Why?"), outcome=Outcome("stopped"))
    settings.REQUESTS_A_MINUTE = 1
    response = client.post(f"{cut.conversation.get_absolute_url()}messages/", SEND)
    assert 'name="continue"' in refused(response)
