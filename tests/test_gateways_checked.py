"""What the admin says of a gateway: whether it answers, what is wrong, how long its balance lasts."""

import html
from datetime import timedelta
from decimal import Decimal

import pytest
from django.utils import timezone

from chat.models import Call, Gateway, LanguageModel, User
from chat.models.budgets import Weight
from chat.models.calls import CallEnd
from tests.gateway_rows import KEY, address, administrator, fresh, own, owner, reachable
from tests.script import usage_of

__all__ = ["administrator", "owner", "reachable"]
pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("plain_static", "cheap_passwords")]


def command(client, name, gateway, **fields):
    """Give a command by its button; returns what the page says then."""
    place = address("change", gateway.pk)
    response = client.post(address(name, gateway.pk), fields)
    assert (response.status_code, response["Location"]) == (302, place)
    page = client.get(place)
    return [str(message) for message in page.context["messages"]]


# --- check --------------------------------------------------------------------------------------


def test_check_lists_times_and_accounts(owner, gateway, reachable):
    gateway.models = [{"id": "m-1"}, {"id": "m-2"}]
    gateway.reply("Hi", finish="length", usage=usage_of(8, 1))
    listed, answered = command(owner, "check", reachable)
    assert listed.startswith("2 models listed in 0.")
    assert answered.startswith("One token from m-1 in 0.")
    (asked,) = gateway.calls
    assert asked.json["max_tokens"] == 1
    assert asked.headers["authorization"] == f"Bearer {KEY}"
    call = Call.objects.get()
    assert (call.purpose, call.gateway, call.model) == ("check", reachable, "m-1")
    assert (call.prompt_tokens, call.completion_tokens, call.confidence) == (8, 1, "exact")
    assert call.user.username == "owner"
    assert call.ended_at is not None
    assert [m.name for m in reachable.language_models.all()] == ["m-1", "m-2"]


def test_check_asks_the_model_that_is_named_or_is_the_default(owner, gateway, reachable):
    gateway.models = [{"id": "m-1"}, {"id": "m-2"}]
    reachable.replace_models(["m-1", "m-2"])
    LanguageModel.objects.filter(name="m-2").update(is_default=True)
    command(owner, "check", reachable)
    command(owner, "check", reachable, model="typed/one:free")
    assert [call.json["model"] for call in gateway.calls] == ["m-2", "typed/one:free"]
    assert command(owner, "check", reachable, model="a\nb") == ["This is not a model's name."]


def test_a_model_that_thinks_its_only_token_away_has_answered(owner, gateway, reachable):
    gateway.reply(finish="length", usage=usage_of(8, 1))
    assert "One token from" in command(owner, "check", reachable)[1]
    assert Call.objects.get().completion_tokens == 1


def test_a_model_of_newer_ways_is_asked_in_newer_ways(owner, gateway, reachable):
    why = "Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens' instead."
    gateway.refuse(400, {"error": {"message": why}})
    gateway.reply("Hi")
    assert "One token from" in command(owner, "check", reachable)[1]
    assert gateway.calls[1].json["max_completion_tokens"] == 1
    assert list(fresh(reachable).refused_parameters.values()) == [["max_tokens"]]
    assert "max_tokens" not in gateway.calls[1].json
    assert [call.error_kind for call in Call.objects.all()] == ["bad_request", ""]


@pytest.mark.parametrize(
    ("status", "body", "sentence"),
    [
        (401, {"error": {"message": f"Wrong key {KEY}"}}, "refuses the key. (Wrong key ***)"),
        (404, "", "knows no such address"),
        (200, "<html>hello</html>", "A web page answers here"),
        (200, "nonsense", "OpenAI-compatible"),
        (500, "", "error of its own (500)"),
        (200, {"data": []}, "lists no models"),
        (200, {"hello": "world"}, "lists no models"),
    ],
)
def test_what_is_wrong_with_the_list_is_said(owner, gateway, reachable, status, body, sentence):
    gateway.refuse(status, body, path="/v1/models")
    said = command(owner, "list", reachable)
    assert len(said) == 1
    assert sentence in said[0]
    assert KEY not in said[0]
    if "lists no models" not in sentence:
        state = owner.get(address("changelist")).content.decode()
        assert sentence.partition(" (")[0] in html.unescape(state)


@pytest.mark.parametrize(
    ("status", "body", "sentence"),
    [
        (402, {"error": {"message": "Top up"}}, "balance is used up. (Top up)"),
        (404, {"error": {"message": "model m not found"}}, "doesn't know this model"),
        (429, "", "takes no more requests"),
        (200, "<html>hello</html>", "A web page answers here"),
    ],
)
def test_what_is_wrong_with_the_answer_is_said(owner, gateway, reachable, status, body, sentence):
    gateway.refuse(status, body)
    said = command(owner, "check", reachable, model="m")
    assert said[1].startswith("No answer from m.")
    assert sentence in said[1]
    assert Call.objects.get().error_kind


def test_an_address_that_nobody_listens_at_is_said_and_asked_once(owner, gateway, reachable):
    Gateway.objects.update(base_url="http://127.0.0.1:9/v1")
    (said,) = command(owner, "check", fresh(reachable))
    assert "Nothing answers at this address" in said
    assert not Call.objects.exists()


def test_an_address_in_a_private_network_is_said_and_not_asked(owner, gateway, reachable):
    Gateway.objects.update(is_private_allowed=False)
    (said,) = command(owner, "check", fresh(reachable))
    assert "private network" in said
    assert gateway.requests == []


def test_a_key_that_can_not_be_unsealed_is_said_and_breaks_no_page(owner, reachable):
    Gateway.objects.update(sealed_key="nonsense")
    (said,) = command(owner, "check", fresh(reachable))
    assert "can't be unsealed" in said
    assert "can't be unsealed" in owner.get(address("changelist")).content.decode().replace(
        "&#x27;", "'"
    )


def test_a_refused_include_usage_is_learned(owner, gateway, reachable):
    gateway.refuse(422, {"detail": [{"loc": ["body", "stream_options"], "msg": "extra"}]})
    gateway.reply("Hi")
    command(owner, "check", reachable)
    assert not fresh(reachable).takes_include_usage


# --- balance ------------------------------------------------------------------------------------


def spend(gateway, nano, days_ago=0, currency="RUB"):
    Call.objects.create(
        gateway=gateway,
        gateway_slug=gateway.slug,
        user_key=User.objects.first().key,
        model="m",
        cost_nano=nano,
        currency=currency,
        started_at=timezone.now() - timedelta(days=days_ago),
    )


def test_the_balance_is_shown_with_the_days_that_it_lasts(owner, gateway):
    row = own("aitunnel", base_url=gateway.url, is_private_allowed=True, currency="RUB")
    spend(row, 70 * 10**9, days_ago=1)
    spend(row, 999 * 10**9, days_ago=8)
    spend(row, 999 * 10**9, currency="USD")
    gateway.refuse(200, {"balance": 123.45}, path="/v1/aitunnel/balance")
    assert command(owner, "balance", row) == ["Balance: 123.45 RUB."]
    for page in (address("changelist"), address("change", row.pk)):
        shown = owner.get(page).content.decode()
        assert "123.45 RUB · lasts 12 days" in shown


def test_check_refreshes_the_balance(owner, gateway):
    row = own("aitunnel", base_url=gateway.url, is_private_allowed=True, currency="RUB")
    gateway.refuse(200, {"balance": -3}, path="/v1/aitunnel/balance")
    assert command(owner, "check", row)[-1] == "Balance: -3 RUB."
    assert fresh(row).balance == -3


def test_a_gateway_without_a_way_to_ask_says_so(owner, reachable):
    assert command(owner, "balance", reachable) == [
        "This gateway has no way to ask for the balance."
    ]
    assert fresh(reachable).balance is None


def test_a_balance_that_is_unknown_is_a_dash(owner):
    shown = owner.get(address("change", own().pk)).content.decode()
    assert "None" not in shown


def test_nothing_spent_makes_no_days(owner):
    gateway = own()
    gateway.note_balance(Decimal(5))
    assert "5 USD" in owner.get(address("changelist")).content.decode()
    assert "lasts" not in owner.get(address("changelist")).content.decode()


def test_the_list_costs_no_query_more_for_each_gateway(owner, django_assert_max_num_queries):
    for number in range(8):
        gateway = own(f"g{number}")
        gateway.note_balance(Decimal(5))
        spend(gateway, 10**9, currency="USD")
    with django_assert_max_num_queries(6):
        assert "lasts 35 days" in owner.get(address("changelist")).content.decode()


# --- how it does --------------------------------------------------------------------------------


def failed(gateway, kind="server", hours_ago=1, **facts):
    """A call of today's, or of hours ago, that ended so."""
    caller = User.objects.first()
    call = Call.begin_check(caller, gateway, "m", Weight(1, 1))
    moment = timezone.now() - timedelta(hours=hours_ago)
    Call.objects.filter(pk=call.pk).update(started_at=moment)
    Call.end(CallEnd(call.pk, error_kind=kind, **facts))
    return call


def test_the_list_tells_todays_errors_and_the_last_one(owner):
    gateway = own()
    failed(gateway, "rate_limit", hours_ago=0)
    failed(gateway, "server", hours_ago=0)
    failed(gateway, "", hours_ago=0)
    failed(own("other"), "auth", hours_ago=24 * 8)
    shown = owner.get(address("changelist"))
    other, first = sorted(shown.context["cl"].result_list, key=lambda row: row.slug != "other")
    assert (first.failed_today, first.calls_today) == (2, 3)
    assert first.last_error_kind == "server"
    assert (other.calls_today, other.last_error_kind) == (None, None)
    assert "2 / 3" in shown.content.decode()


def test_a_gateways_page_lists_its_last_errors_without_their_words(owner, administrator):
    gateway = own()
    call = failed(gateway, "server", error_message="quotes a private word", http_status=503)
    for client in (owner, administrator):
        page = client.get(address("change", gateway.pk)).content.decode()
        assert "Errors of the last 7 days" in page
        assert f"/admin/chat/call/{call.pk}/change/" in page
        assert ">503<" in page
        assert "quotes a private word" not in page
    assert "Errors of the last" not in owner.get(address("change", own("b").pk)).content.decode()


def test_check_now_stands_in_the_list(administrator, gateway):
    row = own(base_url=gateway.url, is_private_allowed=True)
    gateway.reply("Hi")
    shown = administrator.get(address("changelist")).content.decode()
    place = address("check", row.pk)
    assert f'<button form="row-command" formaction="{place}" name="check">' in shown
    assert '<form id="row-command" method="post">' in shown
    assert administrator.post(place).status_code == 302


def test_a_balance_that_runs_out_is_marked(owner):
    gateway = own()
    gateway.note_balance(Decimal(5))
    assert 'class="bad"' not in owner.get(address("changelist")).content.decode()
    spend(gateway, 20 * 10**9, currency="USD")
    assert (
        '<span class="bad">5 USD · lasts 1 day' in owner.get(address("changelist")).content.decode()
    )


def test_each_balance_that_is_asked_is_kept(owner):
    gateway = own()
    gateway.note_balance(Decimal(5))
    gateway.note_balance(None)
    gateway.note_balance(Decimal("4.5"))
    assert [balance.amount for balance in gateway.balances.all()] == [5, Decimal("4.5")]
