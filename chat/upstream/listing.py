"""What a gateway offers and what is left on it, whatever the shape of its answer. No I/O."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import msgspec

from chat.rendering.clean import clean
from chat.upstream.usage import Currency, money, tokens

_MAX_MODELS = 5000
_MAX_ID_CHARS = 300
_MAX_CAPABILITIES = 40
_MAX_CAPABILITY_CHARS = 40
_PER_MILLION = 1_000_000


class ModelInfo(msgspec.Struct, frozen=True):
    """One model of a gateway's list; whatever it does not say is None.

    id: opaque, may hold / : and @. Prices are per million tokens in `currency`, None being the
    gateway's own. raw: the entry as it came.
    """

    id: str
    name: str
    context_tokens: int | None = None
    prompt_price: Decimal | None = None
    completion_price: Decimal | None = None
    cached_price: Decimal | None = None
    currency: Currency | None = None
    capabilities: tuple[str, ...] = ()  # in the gateway's words: tools, reasoning, image, ...
    raw: dict[str, Any] = {}


def models(document: object) -> list[ModelInfo]:
    """The models of a /models answer in its order, each id once."""
    if isinstance(document, dict):
        document = document.get("data") or document.get("models")
    found: dict[str, ModelInfo] = {}
    for entry in document[:_MAX_MODELS] if isinstance(document, list) else ():
        model = _model({"id": entry} if isinstance(entry, str) else entry)
        if model:
            found.setdefault(model.id, model)
    return list(found.values())


def balance(document: object) -> Decimal | None:
    """What is left: AITUNNEL's {"balance"}, OpenRouter's {"data": {total_credits, total_usage}}."""
    if not isinstance(document, dict):
        return None
    inner = document.get("data")
    if not isinstance(inner, dict):
        return _signed(document.get("balance"))
    bought, used = _signed(inner.get("total_credits")), _signed(inner.get("total_usage"))
    return None if bought is None or used is None else bought - used


def _model(entry: object) -> ModelInfo | None:
    if not isinstance(entry, dict):
        return None
    id_ = entry.get("id") or entry.get("model") or entry.get("name")
    if not isinstance(id_, str) or not 0 < len(id_) <= _MAX_ID_CHARS or clean(id_) != id_:
        return None
    name = entry.get("name") or entry.get("display_name") or entry.get("title")
    prompt, completion, cached, currency = _prices(entry)
    return ModelInfo(
        id=id_,
        name=clean(name)[:_MAX_ID_CHARS] if isinstance(name, str) else id_,
        context_tokens=_context(entry),
        prompt_price=prompt,
        completion_price=completion,
        cached_price=cached,
        currency=currency,
        capabilities=_capabilities(entry),
        raw=entry,
    )


def _context(entry: Mapping[str, Any]) -> int | None:
    provider = entry.get("top_provider")
    for place in (entry, provider if isinstance(provider, dict) else {}):
        for name in ("context_length", "context_window", "max_model_len", "max_context_length"):
            if count := tokens(place.get(name)):
                return count
    return None


def _capabilities(entry: Mapping[str, Any]) -> tuple[str, ...]:
    """What it takes beside text and which parameters it knows, where a gateway tells (OpenRouter)."""
    architecture = entry.get("architecture")
    inputs = architecture.get("input_modalities") if isinstance(architecture, dict) else None
    told: dict[str, None] = {}
    for words in (inputs, entry.get("supported_parameters"), entry.get("capabilities")):
        if isinstance(words, dict):  # Mistral's way: {"vision": true, "function_calling": false}
            words = [word for word, has_it in words.items() if has_it is True]
        if isinstance(words, list):
            told |= dict.fromkeys(
                w for w in words if isinstance(w, str) and clean(w) == w != "text"
            )
    return tuple(word[:_MAX_CAPABILITY_CHARS] for word in told)[:_MAX_CAPABILITIES]


Prices = tuple[Decimal | None, Decimal | None, Decimal | None, Currency | None]


def _prices(entry: Mapping[str, Any]) -> Prices:
    provider = entry.get("top_provider")
    pricing = provider.get("pricing") if isinstance(provider, dict) else None
    if isinstance(pricing, dict) and "prompt_per_million" in pricing:  # polza.ai, in roubles
        return (
            money(pricing.get("prompt_per_million")),
            money(pricing.get("completion_per_million")),
            None,
            "RUB",
        )
    pricing = entry.get("pricing")
    # GPTunnel's cost_context and cost_completion are left alone: its docs don't say for how many
    # tokens they are, and a price wrong by a thousand is worse than none.
    if not isinstance(pricing, dict):
        return None, None, None, None
    # OpenRouter's way: for one token, as strings; -1 where the price depends on what it routes to.
    names = ("prompt", "completion", "input_cache_read")
    prompt, completion, cached = (_per_million(pricing.get(name)) for name in names)
    return prompt, completion, cached, None


def _per_million(price: object) -> Decimal | None:
    amount = money(price)
    return None if amount is None else amount * _PER_MILLION


def _signed(value: object) -> Decimal | None:
    """An amount that may be a debt."""
    if isinstance(value, str):
        negative, value = value.startswith("-"), value.removeprefix("-")
    else:
        negative = isinstance(value, int | float) and value < 0
        value = -value if negative and isinstance(value, int | float) else value
    amount = money(value)
    return -amount if negative and amount is not None else amount
