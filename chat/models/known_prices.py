"""Public list prices of known models in USD, from known_prices.json; tools/known-prices writes it.

The package behind it costs a process 72 MB and a second at its first use; the table costs neither.
"""

import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

_TABLE = Path(__file__).with_name("known_prices.json")
# Whoever serves a model of theirs sells it on; other makers' models people run themselves.
_SOLE_MAKERS = ("anthropic", "google", "openai", "x-ai")
_COMPACT_DATE = re.compile(r"-(20\d\d)(\d\d)(\d\d)$")


class KnownPrice(NamedTuple):
    """USD per million tokens; `cached` None is the price of any prompt token."""

    prompt: Decimal
    cached: Decimal | None
    completion: Decimal


def find(base_url: str, model: str, at: datetime, prompt_tokens: int) -> KnownPrice | None:
    """What this model costs at its maker or host; None for one that isn't known.

    The host is told by its address. Behind any other a model is known by `maker/name`, or by its name
    alone where it can only be its maker's.
    """
    name = model.lower()
    for provider in _providers().values():
        if re.match(provider["api"], base_url):
            return of_provider(provider["id"], name, at, prompt_tokens)
    maker, slash, rest = name.partition("/")
    if slash and maker in _providers():
        return of_provider(maker, rest, at, prompt_tokens)
    for maker in _SOLE_MAKERS:
        if _fits(_providers()[maker]["names"], name):
            return of_provider(maker, name, at, prompt_tokens)
    return None


def of_provider(provider: str, model: str, at: datetime, prompt_tokens: int) -> KnownPrice | None:
    """The same for a provider by its id in the table."""
    name, at = model.lower(), at.astimezone(UTC)
    prices = _prices(provider, name) or _prices(provider, _COMPACT_DATE.sub(r"-\1-\2-\3", name))
    price = next((p for p in reversed(prices) if _applies(p, at)), prices[0] if prices else {})
    if "prompt" not in price:
        return None
    return KnownPrice(
        _rate(price["prompt"], prompt_tokens),
        _rate(price["cached"], prompt_tokens) if "cached" in price else None,
        _rate(price["completion"], prompt_tokens),
    )


@cache
def _providers() -> dict[str, dict[str, Any]]:
    table = json.loads(_TABLE.read_text("utf-8"))
    return {provider["id"]: provider for provider in table["providers"]}


def _prices(provider: str, model: str) -> list[dict[str, Any]]:
    return next((prices for match, prices in _models(provider) if _fits(match, model)), [])


def _models(provider: str) -> Iterator[tuple[list[Any], list[dict[str, Any]]]]:
    """The host's own models, then those of the makers that it resells."""
    yield from _providers()[provider]["models"]
    for maker in _providers()[provider]["also"]:
        yield from _providers()[maker]["models"]


def _fits(clause: list[Any], name: str) -> bool:
    match clause:
        case ["or", inner]:
            return any(_fits(each, name) for each in inner)
        case ["and", inner]:
            return all(_fits(each, name) for each in inner)
        case ["regex", pattern]:
            return re.search(pattern, name) is not None
        case ["equals", word]:
            return bool(name == word.lower())
        case ["starts_with", word]:
            return name.startswith(word.lower())
        case ["ends_with", word]:
            return name.endswith(word.lower())
        case ["contains", word]:
            return bool(word.lower() in name)
    raise ValueError(f"{_TABLE.name} has a clause that is not known: {clause[0]}")


def _applies(price: dict[str, Any], at: datetime) -> bool:
    if "from" in price:
        return bool(at.date().isoformat() >= price["from"])
    if "hours" in price:
        start, end = price["hours"]
        now = f"{at:%H:%M}"
        return bool(start <= now < end if start <= end else now >= start or now < end)
    return True


def _rate(rate: str | list[Any], prompt_tokens: int) -> Decimal:
    """Past a step of a stepped price, all tokens are at that step's price."""
    if isinstance(rate, str):
        return Decimal(rate)
    base, *steps = rate
    passed = [price for start, price in steps if prompt_tokens > start]
    return Decimal(passed[-1] if passed else base)
