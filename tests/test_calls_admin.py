"""Calls and running replies in the admin: exact sums, told to each reader as far as they may know."""

from decimal import Decimal

import pytest

from chat.admin.figures import money, total
from chat.models import Call, Message
from tests.administration import (
    NANO_UNIT,
    USAGE,
    address,
    answer,
    ask,
    conversation,
    gateway,
    people,
    reviewer,
)
from tests.people import browser

__all__ = ["conversation", "gateway", "people", "reviewer"]
pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("plain_static", "cheap_passwords")]


# --- calls and running replies ----------------------------------------------------------------


def test_calls_add_up_to_the_same_decimal_whatever_the_filter(people, gateway):
    for number in range(1, 8):
        usage = USAGE | {"cost_nano": number * 333_333_333}
        answer(ask(people["member"], f"Question {number}", gateway, f"m{number % 2}"), "A", **usage)
    client, url = browser(people["analyst"]), address("chat_call_changelist")
    whole, odd, even = (
        client.get(url, query).context["cl"].total.costs["USD"]
        for query in ({}, {"model_name": "m1"}, {"model_name": "m0"})
    )
    assert whole == odd + even == Decimal(28 * 333_333_333) / NANO_UNIT


def test_calls_are_added_up_as_well_when_that_is_asked_for(people, conversation):
    page = browser(people["analyst"]).get(address("chat_call_changelist"), {"sum": "1"})
    assert page.context["cl"].total.tokens == 42
    assert "1.000000001 USD" in page.content.decode()


def test_an_analyst_sees_sums_and_neither_names_nor_words(people, conversation):
    client = browser(people["analyst"])
    pages = [address("chat_call_changelist")]
    pages += [address("chat_call_change", call.pk) for call in Call.objects.all()]
    key = people["member"].key.hex[:8]
    for page in pages:
        shown = client.get(page).content.decode()
        assert key in shown
        for words in ("member", "rivers", "upstream said no"):
            assert words not in shown


def test_a_reviewer_goes_from_a_call_to_its_message(reviewer, conversation):
    call = Call.objects.last()
    page = reviewer.get(address("chat_call_change", call.pk)).content.decode()
    place = address("chat_conversation_change", conversation.pk)
    assert f'href="{place}#m-{call.message.uuid}"' in page
    assert "upstream said no" in page


def test_calls_outlive_the_conversation(people, conversation):
    conversation.delete()
    client = browser(people["reviewer"])
    page = client.get(address("chat_call_changelist"))
    assert page.context["cl"].total.tokens == 42
    assert client.get(address("chat_call_change", Call.objects.first().pk)).status_code == 200


def test_running_replies_are_listed_without_titles_for_who_may_not_read(people, gateway):
    ask(people["member"], "A private question", gateway)
    url = address("chat_generation_changelist")
    shown = browser(people["reviewer"]).get(url).content.decode()
    assert "A private question" in shown
    assert ">gpt-4o<" in shown
    shown = browser(people["administrator"]).get(url).content.decode()
    assert "member" in shown
    assert "A private question" not in shown
    answer(Message.objects.last(), "Done")
    assert browser(people["reviewer"]).get(url).context["cl"].result_count == 0


# --- figures ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("amount", "shown"),
    [
        ("0", "0 USD"),
        ("0.000000001", "0.000000001 USD"),
        ("1234567.500000000", "1,234,567.5 USD"),
        ("9223372036.854775807", "9,223,372,036.854775807 USD"),
        ("1E+3", "1,000 USD"),
    ],
)
def test_money_is_shown_to_its_last_digit(amount, shown):
    assert money(Decimal(amount), "USD") == shown


def test_unknown_money_is_not_nothing():
    assert money(None, "USD") is None
    assert total([]).show_cost() is None
    assert total([]).show_tokens() is None
