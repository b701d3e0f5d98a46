"""Model lists and balances of several gateways."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chat.upstream import listing


def test_openrouters_prices_are_for_a_token_and_become_prices_for_a_million() -> None:
    entry = {
        "id": "a/b:free@x",
        "name": "B",
        "context_length": 8000,
        "pricing": {"prompt": "0.00000015", "completion": "0.0000006", "input_cache_read": "-1"},
    }
    (model,) = listing.models({"data": [entry]})
    assert (model.id, model.name, model.context_tokens) == ("a/b:free@x", "B", 8000)
    assert (model.prompt_price, model.completion_price) == (Decimal("0.15"), Decimal("0.6"))
    assert (model.cached_price, model.currency) == (None, None)
    assert model.raw == entry


@pytest.mark.parametrize(
    ("told", "capabilities"),
    [
        (
            {
                "architecture": {"input_modalities": ["text", "image"]},
                "supported_parameters": ["tools", "reasoning", 5],
            },
            ("image", "tools", "reasoning"),
        ),
        ({"capabilities": {"vision": True, "function_calling": False}}, ("vision",)),
        ({"capabilities": ["chat"]}, ("chat",)),
        ({"architecture": "text->text", "supported_parameters": None, "capabilities": 1}, ()),
    ],
)
def test_capabilities_are_kept_in_the_gateways_words(told, capabilities) -> None:
    (model,) = listing.models({"data": [{"id": "m", **told}]})
    assert model.capabilities == capabilities


def test_polzas_prices_are_roubles_for_a_million() -> None:
    pricing = {"prompt_per_million": "12.5", "completion_per_million": 50}
    (model,) = listing.models({"data": [{"id": "m", "top_provider": {"pricing": pricing}}]})
    assert (model.prompt_price, model.completion_price) == (Decimal("12.5"), Decimal(50))
    assert model.currency == "RUB"


def test_a_price_for_nobody_knows_how_many_tokens_is_none() -> None:
    entry = {"id": "m", "title": "The M", "cost_context": "1.5", "cost_completion": "3"}
    (model,) = listing.models({"data": [entry]})
    assert (model.name, model.prompt_price, model.completion_price) == ("The M", None, None)


@pytest.mark.parametrize(
    "document",
    [{"data": [{"id": "m"}]}, {"models": [{"name": "m"}]}, ["m"], [{"model": "m"}, {"id": "m"}]],
)
def test_a_list_in_any_shape_gives_each_id_once(document: object) -> None:
    assert [model.id for model in listing.models(document)] == ["m"]


@pytest.mark.parametrize(
    "entry", [None, {}, {"id": 7}, {"id": ""}, {"id": "a\x00"}, {"id": "x" * 301}]
)
def test_an_entry_without_a_usable_id_is_left_out(entry: object) -> None:
    assert listing.models({"data": [entry]}) == []


@pytest.mark.parametrize(
    ("document", "left"),
    [
        ({"balance": 1234.56}, "1234.56"),
        ({"balance": "-3.5"}, "-3.5"),
        ({"balance": -3}, "-3"),
        ({"data": {"total_credits": 10, "total_usage": 2.25}}, "7.75"),
        ({"data": {"total_credits": 10}}, None),
        ({"balance": True}, None),
        ({}, None),
        ([], None),
    ],
)
def test_a_balance_is_read_from_either_shape(document: object, left: str | None) -> None:
    assert listing.balance(document) == (None if left is None else Decimal(left))


@given(st.recursive(st.none() | st.integers() | st.text(), lambda inner: (
    st.lists(inner) | st.dictionaries(
        st.sampled_from(["data", "id", "pricing", "prompt", "top_provider", "balance"]), inner
    )
)))  # fmt: skip
def test_no_json_breaks_the_reading(document: object) -> None:
    listing.models(document)
    listing.balance(document)
