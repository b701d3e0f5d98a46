"""Prices by date, and what calls cost at them."""

import asyncio
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction

import pytest
from django.db.models import Sum
from django.utils import timezone
from hypothesis import given
from hypothesis import strategies as st

from chat.models import Call, Gateway, Price, known_prices
from chat.models.calls import CallEnd
from chat.models.money import NANO, nano
from chat.models.prices import Billable, billable
from chat.rendering.usage import of_calls
from chat.replies import corrections
from chat.replies.attempt import reported
from chat.replies.listing import take_over
from chat.upstream.client import Client, Endpoint
from chat.upstream.listing import ModelInfo
from chat.upstream.usage import from_report
from tests import rows
from tests.script import usage_of
from tests.waiting import until

TOKENS = st.integers(0, 10**9)
PRICES = st.integers(0, 10**6 * 10**9)  # up to a million for a million tokens
LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)


# --- what there is to pay for -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        ({"prompt": 10, "completion": 5, "total": 15}, Billable(10, 0, 5)),
        ({"prompt": 10, "completion": 5}, Billable(10, 0, 5)),
        # A part of what they are told of.
        ({"prompt": 10, "completion": 5, "total": 15, "cached": 4}, Billable(6, 4, 5)),
        ({"prompt": 10, "completion": 5, "total": 15, "reasoning": 5}, Billable(10, 0, 5)),
        # xAI: reasoning beside the completion, and only the total has both.
        ({"prompt": 10, "completion": 2, "total": 20, "reasoning": 8}, Billable(10, 0, 10)),
        # Gemini: what was thought is in the total alone.
        ({"prompt": 10, "completion": 2, "total": 20}, Billable(10, 0, 10, is_sound=False)),
        # Figures that contradict each other.
        (
            {"prompt": 10, "completion": 5, "total": 15, "reasoning": 8},
            Billable(10, 0, 5, is_sound=False),
        ),
        ({"prompt": 10, "completion": 5, "total": 12}, Billable(10, 0, 5, is_sound=False)),
        ({"prompt": 10, "completion": 5, "cached": 11}, Billable(0, 10, 5, is_sound=False)),
        # Unknown is not nothing.
        ({"prompt": None, "completion": 5, "total": 5}, None),
        ({"prompt": 5, "completion": None, "total": 5}, None),
    ],
)
def test_each_token_is_paid_for_once(told, expected):
    assert billable(**told) == expected


@given(TOKENS, TOKENS, TOKENS, PRICES, st.none() | PRICES, PRICES)
def test_a_cost_is_the_exact_sum_rounded_once_property(prompt, cached, out, p, c, o):
    price = Price(
        prompt=Decimal(p) / NANO,
        cached=None if c is None else Decimal(c) / NANO,
        completion=Decimal(o) / NANO,
    )
    exact = Fraction(prompt * p + cached * (p if c is None else c) + out * o, 10**6)
    cost = price.cost_nano(Billable(prompt, cached, out))
    # round() of a Fraction rounds half to even.
    assert cost == (round(exact) if round(exact) < 2**63 else None)


@given(st.decimals(0, 9 * 10**9, places=12))
def test_an_amount_is_kept_to_the_ninth_place_property(amount):
    assert abs(Decimal(nano(amount)) / NANO - amount) <= Decimal("0.5e-9")


@pytest.mark.parametrize("amount", [None, Decimal("NaN"), Decimal("Infinity"), Decimal(-1), 10**10])
def test_an_absurd_amount_is_unknown(amount):
    assert nano(Decimal(amount) if isinstance(amount, int) else amount) is None


# --- prices by date -----------------------------------------------------------------------------


def price(gateway: Gateway, prompt: object, completion: object, **more: object) -> Price:
    facts = {"model": "m", "currency": gateway.currency, "valid_from": LONG_AGO} | more
    return Price.objects.create(
        gateway=gateway, prompt=Decimal(prompt), completion=Decimal(completion), **facts
    )


def listed(prompt: str = "1", completion: str = "2", **more: object) -> ModelInfo:
    prices = {"prompt_price": Decimal(prompt), "completion_price": Decimal(completion)}
    return ModelInfo("m", "m", **(prices | more))


@pytest.mark.django_db
def test_a_price_comes_back_to_the_last_digit():
    row = price(rows.gateway(), "0.000000001", "999999.999999999")
    row.refresh_from_db()
    assert (row.prompt, row.cached) == (Decimal("0.000000001"), None)
    assert row.completion == Decimal("999999.999999999")
    assert Price.objects.filter(prompt=Decimal("0.000000001")).get() == row


@pytest.mark.django_db
def test_the_price_is_the_newest_that_was_valid_then():
    gateway = rows.gateway()
    old = price(gateway, 1, 1, valid_from=LONG_AGO)
    new = price(gateway, 2, 2, valid_from=LONG_AGO + timedelta(days=10))
    assert Price.at(gateway, "m", LONG_AGO - timedelta(days=1)) is None
    assert Price.at(gateway, "m", LONG_AGO + timedelta(days=9)) == old
    assert Price.at(gateway, "m", LONG_AGO + timedelta(days=10)) == new
    assert Price.at(gateway, "other", timezone.now()) is None
    assert Price.at(rows.gateway("second"), "m", timezone.now()) is None


@pytest.mark.django_db
def test_a_list_adds_a_price_only_where_it_changed():
    gateway = rows.gateway()
    for _ in range(2):
        take_over(
            gateway,
            [listed("0.1500000000001", cached_price=Decimal("0.05")), ModelInfo("free", "")],
        )
    assert Price.objects.get().figures == ("USD", Decimal("0.15"), Decimal("0.05"), Decimal(2))
    take_over(gateway, [listed("0.15", cached_price=Decimal("0.06"))])
    take_over(gateway, [])
    take_over(gateway, [listed("0.15", cached_price=Decimal("0.06"))])
    assert Price.objects.count() == 2
    assert Price.at(gateway, "m", timezone.now()).cached == Decimal("0.06")


@pytest.mark.django_db
def test_a_list_in_another_currency_prices_in_that():
    gateway = rows.gateway()
    take_over(gateway, [listed(currency="RUB")])
    assert Price.objects.get().currency == "RUB"


@pytest.mark.django_db
@pytest.mark.parametrize("absurd", [None, Decimal(10) ** 12])
def test_a_list_that_tells_half_a_price_tells_none(absurd):
    take_over(rows.gateway(), [listed(completion_price=absurd)])
    assert not Price.objects.exists()


@pytest.mark.django_db
def test_a_price_by_hand_holds_until_the_gateway_announces_another():
    gateway = rows.gateway()
    take_over(gateway, [listed("1")])
    by_hand = price(gateway, "0.9", 2, valid_from=timezone.now())
    take_over(gateway, [listed("1")])
    assert Price.at(gateway, "m", timezone.now()) == by_hand
    take_over(gateway, [listed("3")])
    assert Price.at(gateway, "m", timezone.now()).prompt == 3


@pytest.mark.django_db
def test_the_prices_of_a_server_that_was_replaced_are_over():
    gateway = rows.gateway()
    take_over(gateway, [listed()])
    before = timezone.now()
    gateway.forget()
    assert Price.at(gateway, "m", timezone.now()) is None
    assert Price.at(gateway, "m", before) is not None
    take_over(gateway, [listed()])
    assert Price.at(gateway, "m", timezone.now()) is not None


@pytest.mark.django_db
def test_a_list_says_what_a_model_is_called_and_how_much_it_takes():
    gateway = rows.gateway()
    take_over(gateway, [ModelInfo("m", "Model M", 8000), ModelInfo("x" * 201, "")])
    model = gateway.language_models.get()
    assert (model.name, model.label, model.context_tokens) == ("m", "Model M", 8000)


# --- what a call costs --------------------------------------------------------------------------


def begin(gateway: Gateway, model: str = "m") -> Call:
    rows.ask()
    return Call.begin(rows.claim(), gateway, model, 1)


def end(call: Call, report: dict[str, object] | None, **facts: object) -> Call:
    """The call once a gateway reported this usage."""
    usage = from_report(report)
    Call.end(CallEnd(call.pk, **((reported(usage) if usage else {}) | facts)))
    return Call.objects.get(pk=call.pk)


def cost(call: Call) -> tuple[Decimal | None, str, str]:
    return call.cost, call.currency, call.cost_confidence


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("figure", "expected"),
    [
        ({"cost": 0.000669}, (Decimal("0.000669"), "EUR", "exact")),
        ({"cost": {"total_cost": "0.5"}}, (Decimal("0.5"), "EUR", "exact")),
        ({"cost": 0}, (Decimal(0), "EUR", "exact")),
        ({"cost_rub": 0.0153}, (Decimal("0.0153"), "RUB", "exact")),
        ({"cost_in_usd_ticks": 3080400}, (Decimal("0.00030804"), "USD", "exact")),
    ],
)
def test_the_gateways_own_figure_wins(figure, expected):
    gateway = rows.gateway(currency="EUR")
    price(gateway, 100, 100)
    call = end(begin(gateway), usage_of(10, 5) | figure)
    assert cost(call) == expected
    assert call.price is None


@pytest.mark.django_db
def test_without_one_the_call_keeps_the_price_it_was_billed_at():
    gateway = rows.gateway(currency="RUB")
    at = price(gateway, "12.5", 50, cached=Decimal("2.5"))
    report = usage_of(1000, 200) | {"prompt_tokens_details": {"cached_tokens": 400}}
    call = end(begin(gateway), report)
    assert cost(call) == (Decimal("0.0185"), "RUB", "exact")
    assert call.price == at


@pytest.mark.django_db
def test_a_price_change_alters_no_past_cost():
    gateway = rows.gateway()
    price(gateway, 1, 1)
    call = begin(gateway)
    # While it runs: what was valid at its start counts.
    price(gateway, 9, 9, valid_from=timezone.now())
    assert cost(end(call, usage_of(10**6, 0))) == (Decimal(1), "USD", "exact")
    Price.objects.all().delete()
    call.refresh_from_db()
    assert (call.cost, call.price) == (Decimal(1), None)


@pytest.mark.django_db
def test_a_price_that_became_known_only_while_a_call_ran_is_an_estimate():
    gateway = rows.gateway()
    call = begin(gateway)
    price(gateway, 1, 1, valid_from=timezone.now())
    assert cost(end(call, usage_of(10**6, 0))) == (Decimal(1), "USD", "estimated")


@pytest.mark.django_db
def test_estimated_tokens_cost_an_estimate():
    gateway = rows.gateway()
    price(gateway, 1, 1)
    call = end(begin(gateway), usage_of(10**6, 0), confidence="estimated")
    assert cost(call) == (Decimal(1), "USD", "estimated")


@pytest.mark.django_db
def test_figures_that_contradict_each_other_cost_an_estimate():
    gateway = rows.gateway()
    price(gateway, 1, 1)
    call = end(begin(gateway), {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 20})
    assert cost(call) == (Decimal("0.00002"), "USD", "estimated")
    assert (call.completion_tokens, call.total_tokens) == (5, 20)


@pytest.mark.django_db
@pytest.mark.parametrize("report", [None, {"prompt_tokens": 5}, {"total_tokens": -1}])
def test_what_nobody_knows_is_not_nothing(report):
    gateway = rows.gateway()
    price(gateway, 1, 1)
    assert cost(end(begin(gateway), report)) == (None, "USD", "unknown")


@pytest.mark.django_db
def test_a_model_without_a_price_costs_nobody_knows_what():
    assert cost(end(begin(rows.gateway()), usage_of(10, 5))) == (None, "USD", "unknown")


@pytest.mark.django_db
def test_a_known_model_costs_its_public_price_marked_as_an_estimate():
    gateway = rows.gateway()
    calls = [end(begin(gateway, "gpt-4o"), usage_of(1000, 100)) for _ in range(2)]
    assert [cost(call) for call in calls] == [(Decimal("0.0035"), "USD", "estimated")] * 2
    # One row says what both were reckoned at, and it is nobody's word on the price.
    assert calls[0].price == calls[1].price
    assert calls[0].price.source == Price.Source.KNOWN
    assert Price.at(gateway, "gpt-4o", timezone.now()) is None


@pytest.mark.django_db
def test_a_public_price_in_dollars_says_nothing_where_one_pays_in_roubles():
    gateway = rows.gateway(currency="RUB")
    assert cost(end(begin(gateway, "gpt-4o"), usage_of(1000, 100))) == (None, "RUB", "unknown")


@pytest.mark.django_db
def test_a_call_that_a_crash_cut_is_priced_too():
    reply = rows.ask("Why is the sky blue?")
    gateway = reply.gateway
    price(gateway, 1000, 1000)
    generation = rows.claim("dead")
    call = Call.begin(generation, gateway, "m", 1)
    type(generation).sweep([], usage=lambda _: usage_of(20, 30) | {"confidence": "estimated"})
    call.refresh_from_db()
    assert cost(call) == (Decimal("0.05"), "USD", "estimated")
    assert call.error_kind == "crash"


# --- a late true figure -------------------------------------------------------------------------


def correct(call: Call, report: dict[str, object]) -> Call:
    Call.correct(CallEnd(call.pk, **reported(from_report(report))))
    return Call.objects.get(pk=call.pk)


@pytest.mark.django_db
def test_a_late_true_figure_replaces_the_estimate():
    gateway = rows.gateway()
    price(gateway, 1, 1)
    call = end(
        begin(gateway),
        usage_of(90, 10),
        confidence="estimated",
        finish_reason="cut",
        http_status=200,
    )
    ended_at, version = call.ended_at, rows.fresh(call.message).version
    for _ in range(2):
        call = correct(call, usage_of(900, 100))
        assert cost(call) == (Decimal("0.001"), "USD", "exact")
        assert (call.total_tokens, call.confidence) == (1000, "exact")
    assert (call.ended_at, call.finish_reason, call.http_status) == (ended_at, "cut", 200)
    assert rows.fresh(call.message).version > version
    assert of_calls(Call.objects.all()).total_tokens == 1000


@pytest.mark.django_db
def test_a_late_own_figure_replaces_the_price():
    gateway = rows.gateway()
    price(gateway, 1, 1)
    call = correct(end(begin(gateway), usage_of(10, 5)), usage_of(10, 5) | {"cost": 0.25})
    assert cost(call) == (Decimal("0.25"), "USD", "exact")
    assert call.price is None


@pytest.mark.django_db
def test_a_correction_of_a_deleted_replys_call_reaches_the_call():
    call = end(begin(rows.gateway()), usage_of(10, 5))
    call.message.conversation.delete()
    call = correct(Call.objects.get(pk=call.pk), usage_of(10, 5) | {"cost": 0.25})
    assert (call.message, call.cost) == (None, Decimal("0.25"))


RECORD = {
    "native_tokens_prompt": 900,
    "native_tokens_completion": 100,
    "native_tokens_reasoning": 40,
    "native_tokens_cached": None,
    "tokens_prompt": 1,
    "total_cost": 0.0015,
}


@pytest.mark.django_db(transaction=True)
def test_openrouters_record_of_a_cut_call_replaces_the_estimate(gateway):
    record = "/v1/generation"
    gateway.refuse(404, {"error": {"code": 404, "message": "not yet"}}, path=record)
    gateway.refuse(200, {"data": RECORD}, path=record)
    call = end(begin(rows.gateway("openrouter")), usage_of(90, 10), confidence="estimated")
    ask_later(gateway, CallEnd(call.pk, request_id="gen-1"))
    call.refresh_from_db()
    assert cost(call) == (Decimal("0.0015"), "USD", "exact")
    tokens = (call.prompt_tokens, call.completion_tokens, call.reasoning_tokens, call.total_tokens)
    assert (tokens, call.confidence) == ((900, 100, 40, 1000), "exact")


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(
    ("slug", "request_id"), [("openrouter", "abc"), ("openrouter", ""), ("first", "gen-1")]
)
def test_a_call_without_a_record_keeps_its_estimate(gateway, slug, request_id):
    call = end(begin(rows.gateway(slug)), usage_of(90, 10), confidence="estimated")
    ask_later(gateway, CallEnd(call.pk, request_id=request_id), slug)
    call.refresh_from_db()
    assert (call.total_tokens, call.confidence, gateway.requests) == (100, "estimated", [])


def ask_later(gateway, end: CallEnd, slug: str = "openrouter") -> None:
    async def ask() -> None:
        client = Client()
        try:
            await corrections.correct(client, Endpoint(slug, gateway.url), end, waits_s=(0, 0))
        finally:
            await client.aclose()

    asyncio.run(ask())


# --- sums ---------------------------------------------------------------------------------------


@pytest.mark.django_db
def test_all_sums_are_the_same_decimal():
    gateway = rows.gateway()
    price(gateway, "0.333333333", "0.777777777")
    first = begin(gateway)
    calls = [first] + [
        Call.begin(first.generation, gateway, "m", number) for number in range(2, 300)
    ]
    costs = [end(call, usage_of(call.pk * 7919 % 10007, call.attempt)).cost for call in calls]
    by_database = Call.objects.aggregate(sum=Sum("cost_nano"))["sum"]
    assert sum(costs) == Decimal(int(by_database)) / NANO == of_calls(Call.objects.all()).cost


# --- public prices ------------------------------------------------------------------------------

SEPTEMBER = datetime(2026, 9, 15, tzinfo=UTC)


@pytest.mark.parametrize(
    ("base_url", "model", "is_known"),
    [
        ("https://api.openai.com/v1", "gpt-4o", True),
        ("https://api.openai.com/v1", "GPT-4o", True),
        ("https://api.openai.com/v1", "claude-sonnet-4-5", False),
        ("https://api.deepseek.com/v1", "deepseek-chat", True),
        # Behind an address that isn't known.
        ("http://127.0.0.1:4000/v1", "gpt-4o", True),
        ("http://127.0.0.1:4000/v1", "anthropic/claude-sonnet-4-5", True),
        ("http://127.0.0.1:4000/v1", "claude-sonnet-4-5", True),
        ("http://127.0.0.1:4000/v1", "nobody/gpt-4o", False),
        # Open weights may be the owner's own machine at work.
        ("http://127.0.0.1:11434/v1", "deepseek-chat", False),
        ("http://127.0.0.1:11434/v1", "llama-3.1-8b", False),
        ("http://127.0.0.1:11434/v1", "", False),
    ],
)
def test_a_public_price_is_found_by_host_or_maker(base_url, model, is_known):
    assert (known_prices.find(base_url, model, SEPTEMBER, 1000) is not None) == is_known


def test_a_public_price_is_that_of_its_date_and_hour():
    def prompt(at: datetime) -> Decimal:
        return known_prices.of_provider("deepseek", "deepseek-v4-pro", at, 10).prompt

    assert prompt(datetime(2026, 8, 16, 20, tzinfo=UTC)) == Decimal("0.435")
    assert prompt(datetime(2026, 8, 17, 20, tzinfo=UTC)) == Decimal("0.66")
    assert prompt(datetime(2026, 8, 17, 2, tzinfo=UTC)) == Decimal("1.32")


def test_a_long_prompt_is_at_the_price_of_its_step():
    short, long = (
        known_prices.of_provider("google", "gemini-2.5-pro", SEPTEMBER, size)
        for size in (200_000, 200_001)
    )
    assert long.prompt == 2 * short.prompt


@given(st.text(max_size=40), st.text(max_size=40))
def test_any_name_behind_any_address_has_a_price_or_none_property(base_url, model):
    found = known_prices.find(base_url, model, SEPTEMBER, 1000)
    assert found is None or found.prompt >= 0


# --- through the real server --------------------------------------------------------------------


@pytest.fixture
def priced_gateway(gateway):
    """Lists `priced` at 2.5 and 10 a million."""
    before = gateway.models
    prices = {"prompt": "0.0000025", "completion": "0.00001"}
    gateway.models = [{"id": "priced", "name": "Priced", "pricing": prices}]
    yield gateway
    gateway.models = before


def test_a_reply_costs_what_the_list_says_or_the_gateway(priced_gateway, start_server):
    server = start_server(
        AITUNNEL_BASE_URL=priced_gateway.url, AITUNNEL_API_KEY="sk-t", POTOK_DEMO="0"
    )
    owner = server.visitor().set_up()
    until(lambda: "priced" in owner.get("/").text, "the models are listed")
    priced_gateway.reply("by list", usage=usage_of(1000, 100))
    priced_gateway.reply("by figure", usage=usage_of(12, 9) | {"cost_rub": 0.0153})
    conversation = owner.send("hi", model="priced", gateway="openai")
    by_list = owner.wait_for_reply(conversation)["usage"]
    owner.send("and?", conversation, model="priced", gateway="aitunnel")
    by_figure = owner.wait_for_reply(conversation)["usage"]
    figures = ("cost", "currency", "cost_confidence")
    assert [by_list[name] for name in figures] == ["0.0035", "USD", "exact"]
    assert [by_figure[name] for name in figures] == ["0.0153", "RUB", "exact"]
