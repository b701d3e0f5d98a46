"""Prices in the admin: who sees and adds them, that none is changed, and which one a call was at."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from django.contrib.admin.models import LogEntry
from django.urls import reverse
from django.utils import timezone

from chat.models import Call, Conversation, Gateway, LanguageModel, Listed, Price, User
from chat.models.people import ROLES
from tests import people, rows

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("plain_static", "cheap_passwords")]


def browser(role):
    return people.browser(people.of_role(role, role))


@pytest.fixture
def administrator():
    return browser("administrator")


@pytest.fixture
def gateway():
    return rows.gateway("first", currency="RUB")


def address(name, *args):
    return reverse(f"admin:chat_price_{name}", args=args)


def price(gateway, model="m", **facts):
    figures = {"currency": "USD", "prompt": Decimal("0.15"), "completion": Decimal("0.6")}
    return Price.objects.create(gateway=gateway, model=model, **(figures | facts))


def add(client, through, **fields):
    entered = {
        "gateway": through.pk,
        "model": "m",
        "valid_from": "",
        "currency": "",
        "prompt": "0.15",
        "cached": "",
        "completion": "0.6",
    }
    return client.post(address("add"), entered | fields)


def listed(client, **query):
    response = client.get(address("changelist"), query)
    assert response.status_code == 200, response.get("Location")
    return [row.model for row in response.context["cl"].result_list]


# --- adding -------------------------------------------------------------------------------------


@pytest.mark.parametrize("role", ROLES)
def test_owners_and_administrators_add_prices(role, gateway):
    response = add(browser(role), gateway)
    may = role in ("owner", "administrator")
    assert response.status_code == (302 if may else 403)
    assert Price.objects.exists() is may


def test_a_price_is_valid_from_now_in_the_gateways_currency_unless_said_otherwise(
    administrator, gateway
):
    before = timezone.now()
    add(administrator, gateway)
    found = Price.objects.get()
    assert before <= found.valid_from <= timezone.now()
    assert found.figures == ("RUB", Decimal("0.15"), None, Decimal("0.6"))
    assert found.source == Price.Source.MANUAL


def test_each_figure_is_kept_as_it_was_entered(administrator, gateway, settings):
    settings.TIME_ZONE = "Europe/Moscow"
    add(
        administrator,
        gateway,
        model=" vendor/model:free@eu ",
        valid_from="2026-03-02T01:30",
        currency="usd",
        prompt="0.000000001",
        cached="0",
        completion="999999.999999999",
    )
    found = Price.objects.get()
    assert found.model == "vendor/model:free@eu"
    assert found.valid_from == datetime(2026, 3, 1, 22, 30, tzinfo=UTC)
    assert found.figures == ("USD", Decimal("1e-9"), Decimal(0), Decimal("999999.999999999"))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("gateway", ""),
        ("gateway", "999"),
        ("model", ""),
        ("model", "two\nlines"),
        ("model", "m" * 201),
        ("valid_from", "yesterday"),
        ("currency", "roubles"),
        ("currency", "12"),
        ("prompt", ""),
        ("prompt", "-1"),
        ("prompt", "NaN"),
        ("prompt", "1e30"),
        ("prompt", "0.0000000001"),
        ("cached", "-0.1"),
        ("completion", ""),
        ("completion", "free"),
    ],
)
def test_what_can_not_be_right_is_refused(administrator, gateway, field, value):
    response = add(administrator, gateway, **{field: value})
    assert response.status_code == 200
    assert set(response.context["adminform"].form.errors) == {field}
    assert not Price.objects.exists()


def test_where_a_price_comes_from_is_not_entered(administrator, gateway):
    add(administrator, gateway, source="gateway", valid_until="2020-01-01")
    found = Price.objects.get()
    assert (found.source, found.valid_until) == (Price.Source.MANUAL, None)


def test_it_is_known_who_set_a_price(administrator, gateway):
    add(administrator, gateway)
    entry = LogEntry.objects.get()
    assert (entry.user.username, entry.is_addition()) == ("administrator", True)


def test_a_new_price_is_seen_among_those_of_its_model(administrator, gateway):
    price(gateway, "other")
    response = add(administrator, gateway, model="a b&c")
    page = administrator.get(response["Location"])
    assert [row.model for row in page.context["cl"].result_list] == ["a b&c"]


def test_another_price_is_entered_for_the_same_gateway(administrator, gateway):
    response = add(administrator, gateway, _addanother="1")
    form = administrator.get(response["Location"]).content.decode()
    assert f'<option value="{gateway.pk}" selected>' in form
    assert "Price set: m: 0.15 / 0.6 RUB." in form


def test_a_price_by_hand_alters_no_past_cost(administrator, gateway):
    call = _call(gateway, price(gateway, valid_from=timezone.now() - timedelta(days=2)))
    add(administrator, gateway, valid_from="2020-01-01T00:00", prompt="5")
    add(administrator, gateway, prompt="7")
    assert Call.objects.get(pk=call.pk).cost_nano == call.cost_nano
    assert Price.at(gateway, "m", timezone.now()).prompt == 7


# --- never changed --------------------------------------------------------------------------------


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("kind", ["changelist", "change", "delete"])
def test_a_forged_post_changes_no_price(role, kind, gateway):
    row = price(gateway)
    place = address(kind) if kind == "changelist" else address(kind, row.pk)
    forged = {
        "gateway": gateway.pk,
        "model": "other",
        "prompt": "9",
        "completion": "9",
        "currency": "USD",
        "post": "yes",
        "action": "delete_selected",
        "_selected_action": [str(row.pk)],
    }
    assert browser(role).post(place, forged).status_code == 403
    assert list(Price.objects.values()) == list(Price.objects.filter(model="m").values())
    assert Price.objects.get().figures == row.figures


# --- the list -------------------------------------------------------------------------------------


def test_the_list_tells_each_figure_to_its_last_digit(administrator, gateway):
    price(gateway, "told", cached=Decimal("0.075000001"), source=Price.Source.GATEWAY)
    shown = administrator.get(address("changelist")).content.decode()
    for words in (">told<", ">first<", ">0.15<", ">0.075000001<", ">0.6<", ">USD<", "list<"):
        assert words in shown


def test_the_list_is_narrowed_by_gateway_model_source_and_day(administrator, gateway):
    other = rows.gateway("second")
    price(gateway, "gpt-4o", valid_from=datetime(2026, 3, 1, 12, tzinfo=UTC))
    price(other, "claude", source=Price.Source.GATEWAY)
    assert listed(administrator) == ["claude", "gpt-4o"]
    assert listed(administrator, gateway__id__exact=gateway.pk) == ["gpt-4o"]
    assert listed(administrator, model_name="CLAU") == ["claude"]
    assert listed(administrator, source__exact="manual") == ["gpt-4o"]
    assert listed(administrator, valid_from_to="2026-03-01") == ["gpt-4o"]


def test_the_list_tells_when_another_server_took_the_gateways_place(administrator, gateway):
    when = datetime(2026, 3, 1, 12, tzinfo=UTC)
    price(gateway, valid_from=when, valid_until=when + timedelta(days=1))
    shown = administrator.get(address("changelist")).content.decode()
    assert "03/01/2026 noon – 03/02/2026 noon" in shown


def test_prices_outlive_their_gateway(administrator, gateway):
    price(gateway)
    gateway.delete()
    assert listed(administrator) == ["m"]


def test_the_list_costs_no_query_more_for_each_price(
    administrator, gateway, django_assert_max_num_queries
):
    for number in range(20):
        price(rows.gateway(f"g{number}"), f"m{number}")
    with django_assert_max_num_queries(8):
        assert len(listed(administrator)) == 20


def test_the_list_of_who_may_only_look_offers_nothing_to_add(gateway):
    price(gateway)
    shown = browser("analyst").get(address("changelist")).content.decode()
    assert address("add") not in shown


# --- the ways to it -------------------------------------------------------------------------------


def test_a_model_leads_to_its_prices_and_to_a_new_one(administrator, gateway):
    model = LanguageModel.objects.create(gateway=gateway, name="vendor/a&b")
    LanguageModel.objects.create(gateway=rows.gateway("second"), name="elsewhere")
    price(gateway, "vendor/a&b")
    price(gateway, "other")
    page = administrator.get(reverse("admin:chat_languagemodel_change", args=[model.pk]))
    shown = page.content.decode()
    query = f"?gateway__id__exact={gateway.pk}&amp;model_name=vendor%2Fa%26b"
    assert f'href="{address("changelist")}{query}"' in shown
    assert listed(administrator, gateway__id__exact=gateway.pk, model_name=model.name) == [
        model.name
    ]
    prefilled = f"?gateway={gateway.pk}&model=vendor%2Fa%26b"
    assert f'href="{address("add")}{prefilled}"'.replace("&", "&amp;") in shown
    form = administrator.get(address("add") + prefilled).content.decode()
    assert f'<option value="{gateway.pk}" selected>' in form
    assert 'name="model" value="vendor/a&amp;b"' in form
    assert '<option value="vendor/a&amp;b">' in form
    assert "elsewhere" not in form


def test_a_gateway_leads_to_its_prices_and_to_a_new_one(administrator, gateway):
    shown = administrator.get(
        reverse("admin:chat_gateway_change", args=[gateway.pk])
    ).content.decode()
    assert f'href="{address("changelist")}?gateway__id__exact={gateway.pk}"' in shown
    assert f'href="{address("add")}?gateway={gateway.pk}"' in shown


@pytest.mark.parametrize("gateway_id", ["", "0", "nonsense", "9" * 18, "²"])
def test_an_address_that_names_no_gateway_still_opens_the_form(administrator, gateway_id):
    assert administrator.get(address("add"), {"gateway": gateway_id}).status_code == 200


def test_a_model_says_what_it_is_called_and_how_much_it_takes(administrator, gateway):
    model = LanguageModel.objects.create(
        gateway=gateway, name="m", label="The Model", context_tokens=131072
    )
    page = administrator.get(reverse("admin:chat_languagemodel_change", args=[model.pk]))
    assert "The Model" in page.content.decode()
    assert "131072" in page.content.decode().replace(",", "")


# --- what a call was billed at --------------------------------------------------------------------


def _call(gateway, at):
    conversation = Conversation.start(
        User.objects.first() or rows.person(), "Why?", "m", gateway
    ).conversation
    return Call.objects.create(
        message=conversation.leaf,
        gateway=gateway,
        gateway_slug=gateway.slug,
        user_key=User.objects.first().key,
        model="m",
        price=at,
        cost_nano=1_500_000,
        currency=at.currency,
        cost_confidence="estimated",
    )


def test_a_call_tells_its_price_and_how_sure_its_cost_is(gateway):
    client = browser("reviewer")
    call = _call(gateway, price(gateway, cached=Decimal("0.05")))
    told = "in 0.15 · cached 0.05 · out 0.6 USD a million tokens (by hand)"
    page = client.get(reverse("admin:chat_call_changelist")).content.decode()
    assert "≈ 0.0015 USD" in page
    page = client.get(reverse("admin:chat_call_change", args=[call.pk])).content.decode()
    assert told in page
    assert "estimated" in page
    conversation = call.message.conversation
    page = client.get(reverse("admin:chat_conversation_change", args=[conversation.pk]))
    assert told in page.content.decode()


def test_calls_are_narrowed_by_how_sure_their_cost_is(gateway):
    client, place = browser("analyst"), reverse("admin:chat_call_changelist")
    _call(gateway, price(gateway))
    for confidence, count in (("estimated", 1), ("exact", 0), ("unknown", 0), ("", 1)):
        page = client.get(place, {"cost_confidence": confidence})
        assert page.context["cl"].result_count == count


def test_what_the_gateway_announces_later_wins_over_a_price_by_hand(administrator, gateway):
    add(administrator, gateway)
    Price.take_over(gateway, [Listed("m", prompt=Decimal(3), completion=Decimal(4))])
    assert Price.at(Gateway.objects.get(), "m", timezone.now()).prompt == 3
