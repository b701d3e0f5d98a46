"""Prices of models by date, and what a call costs at them. A cost is rounded once, half to even.

Which price a call has: the gateway's own figure for it; else the newest price, a person's or from the
gateway's list, that was valid when it began; else the public list price of a known model, in dollars.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any, NamedTuple

from django.db import models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from . import known_prices
from .gateways import MAX_MODEL_NAME, Gateway
from .money import MAX_NANO, NANO, MoneyField, nano

if TYPE_CHECKING:
    from .calls import Call, CallEnd

_MILLION = 10**6


@dataclass(frozen=True)
class Listed:
    """A model as its gateway lists it: prices in `currency` per million tokens, None where untold."""

    name: str
    label: str = ""
    context_tokens: int | None = None
    prompt: Decimal | None = None
    cached: Decimal | None = None
    completion: Decimal | None = None
    currency: str = ""  # the gateway's own where empty


class Price(models.Model):
    """What a model costs from a moment on. Rows are only added: the next one ends this one."""

    class Source(models.TextChoices):
        MANUAL = "manual", _("by hand")
        GATEWAY = "gateway", _("the gateway's list")
        # What a call was estimated at; never looked up for another.
        KNOWN = "genai-prices", _("public list price")

    # Not by a LanguageModel: that row goes when the gateway stops listing it, and a model that was
    # never listed may have a price too.
    gateway = models.ForeignKey(
        Gateway, models.SET_NULL, null=True, related_name="prices", verbose_name=_("gateway")
    )
    model = models.CharField(_("model"), max_length=MAX_MODEL_NAME)
    valid_from = models.DateTimeField(_("valid from"), default=timezone.now)
    # Set only where another server took the gateway's place: what the old one said of it is over.
    valid_until = models.DateTimeField(null=True, editable=False)
    currency = models.CharField(_("currency"), max_length=3)
    prompt = MoneyField(_("a million tokens in"))
    cached = MoneyField(_("a million tokens in, cached"), null=True, blank=True)
    completion = MoneyField(_("a million tokens out"))
    source = models.CharField(
        _("source"), max_length=12, choices=Source, default=Source.MANUAL, editable=False
    )

    class Meta:
        ordering = ["-valid_from", "-id"]
        indexes = [models.Index(fields=["gateway", "model", "valid_from"], name="price_at")]
        verbose_name = _("price")
        verbose_name_plural = _("prices")

    def __str__(self) -> str:
        return f"{self.model}: {self.prompt:f} / {self.completion:f} {self.currency}"

    @property
    def figures(self) -> tuple[Any, ...]:
        """What must differ for it to be another price."""
        return self.currency, self.prompt, self.cached, self.completion

    @classmethod
    def at(cls, gateway: Gateway, model: str, when: datetime) -> "Price | None":
        """The newest word on this model's price that was valid then."""
        told = cls.objects.filter(gateway=gateway, model=model).exclude(source=cls.Source.KNOWN)
        still = models.Q(valid_until=None) | models.Q(valid_until__gt=when)
        return told.filter(still, valid_from__lte=when).order_by("valid_from", "id").last()

    @classmethod
    def take_over(cls, gateway: Gateway, listed: Iterable[Listed]) -> None:
        """Add a row for each model whose listed price isn't the one listed last.

        So a price that was set by hand holds until the gateway itself announces another.
        """
        rows = cls.objects.filter(gateway=gateway, source=cls.Source.GATEWAY, valid_until=None)
        last = {row.model: row.figures for row in rows.order_by("valid_from", "id")}
        told = [row for each in listed if (row := cls._of(gateway, each))]
        cls.objects.bulk_create([row for row in told if row.figures != last.get(row.model)])

    @classmethod
    def _of(cls, gateway: Gateway, listed: Listed) -> "Price | None":
        """The listed price as a row to be, at the precision of one; None if it isn't whole."""
        prompt, cached, completion = (
            None if (found := nano(amount)) is None else Decimal(found) / NANO
            for amount in (listed.prompt, listed.cached, listed.completion)
        )
        if prompt is None or completion is None:
            return None
        return cls(
            gateway=gateway,
            model=listed.name,
            currency=listed.currency or gateway.currency,
            prompt=prompt,
            cached=cached,
            completion=completion,
            source=cls.Source.GATEWAY,
        )

    @classmethod
    def known(
        cls, gateway: Gateway, model: str, when: datetime, prompt_tokens: int
    ) -> "Price | None":
        """The public list price, as a row that keeps what was reckoned with."""
        if gateway.currency != "USD":
            return None
        found = known_prices.find(gateway.base_url, model, when, prompt_tokens)
        if found is None:
            return None
        same = {"gateway": gateway, "model": model, "source": cls.Source.KNOWN, "currency": "USD"}
        row = cls.objects.filter(**same, **found._asdict()).first()
        return row or cls.objects.create(**same, **found._asdict(), valid_from=when)

    @classmethod
    def expected(cls, gateway: Gateway, model: str, prompt_tokens: int) -> "Price | None":
        """What a call would be billed at now; a public list price as a row that isn't kept."""
        now = timezone.now()
        return cls.at(gateway, model, now) or cls._public(gateway, model, now, prompt_tokens)

    @classmethod
    def of_all(cls, places: Iterable[tuple[Gateway, str]]) -> "dict[tuple[int, str], Price]":
        """What each of these models, by its gateway and name, costs now where that is known."""
        now, places = timezone.now(), list(places)
        told = cls.objects.filter(gateway__in={g.pk for g, _ in places}, valid_from__lte=now)
        told = told.exclude(source=cls.Source.KNOWN).exclude(valid_until__lte=now)
        last = {(row.gateway_id, row.model): row for row in told.order_by("valid_from", "id")}
        found = {}
        for gateway, model in places:
            price = last.get((gateway.pk, model)) or cls._public(gateway, model, now)
            if price:
                found[gateway.pk, model] = price
        return found

    @classmethod
    def _public(
        cls, gateway: Gateway, model: str, when: datetime, prompt_tokens: int = 0
    ) -> "Price | None":
        if gateway.currency != "USD":
            return None
        known = known_prices.find(gateway.base_url, model, when, prompt_tokens)
        if known is None:
            return None
        return cls(gateway=gateway, model=model, currency="USD", **known._asdict())

    def cost_nano(self, tokens: "Billable") -> int | None:
        """In 10^-9 of the currency, rounded half to even; None for an absurd sum."""
        prompt, completion = nano(self.prompt) or 0, nano(self.completion) or 0
        cached = prompt if self.cached is None else nano(self.cached) or 0
        sum_ = tokens.prompt * prompt + tokens.cached * cached + tokens.completion * completion
        whole, rest = divmod(sum_, _MILLION)
        whole += rest * 2 > _MILLION or (rest * 2 == _MILLION and whole % 2)
        return whole if whole <= MAX_NANO else None

    def reply_tokens(self, money_nano: int, prompt_tokens: int) -> int:
        """How many this much money pays for beside the prompt; below 0 where that is too dear."""
        prompt, completion = nano(self.prompt) or 0, nano(self.completion) or 0
        left = money_nano * _MILLION - prompt_tokens * prompt
        if completion:
            return left // completion
        return MAX_NANO if left >= 0 else -1


class Billable(NamedTuple):
    """Tokens at each of the three prices; `is_sound` unless the figures contradict each other."""

    prompt: int
    cached: int
    completion: int
    is_sound: bool = True


def billable(
    prompt: int | None,
    completion: int | None,
    total: int | None = None,
    cached: int | None = None,
    reasoning: int | None = None,
) -> Billable | None:
    """What there is to pay for; None where a side is unknown.

    Reasoning is a part of the completion, but with some (xAI, Gemini) it stands beside it and only
    the total has both: what the total has beyond prompt and completion is paid for as completion.
    """
    if prompt is None or completion is None:
        return None
    cached, reasoning = cached or 0, reasoning or 0
    beside = 0 if total is None else total - prompt - completion
    is_sound = cached <= prompt and (
        (beside == 0 and reasoning <= completion) or (beside > 0 and beside == reasoning)
    )
    cached = min(cached, prompt)
    return Billable(prompt - cached, cached, completion + max(beside, 0), is_sound)


def bill(call: "Call", end: "CallEnd") -> dict[str, Any]:
    """The columns that say what a call cost, within the transaction that ends or corrects it."""
    if end.cost_nano is not None:
        return {"price": None, "currency": end.currency or call.currency}
    unknown = {"price": None, "currency": call.currency, "cost_confidence": "unknown"}
    tokens = billable(
        end.prompt_tokens,
        end.completion_tokens,
        end.total_tokens,
        end.cached_tokens,
        end.reasoning_tokens,
    )
    if tokens is None or call.gateway is None:
        return unknown
    price = _price(call, call.gateway, tokens)
    cost = price.cost_nano(tokens) if price else None
    if price is None or cost is None:
        return unknown
    is_exact = (
        end.confidence == "exact"
        and tokens.is_sound
        and price.source != Price.Source.KNOWN
        and price.valid_from <= call.started_at
    )
    return {
        "price": price,
        "cost_nano": cost,
        "currency": price.currency,
        "cost_confidence": "exact" if is_exact else "estimated",
    }


def _price(call: "Call", gateway: Gateway, tokens: Billable) -> Price | None:
    model, began = call.model, call.started_at
    return (
        Price.at(gateway, model, began)
        # The first call of a new installation may run before the list is here.
        or Price.at(gateway, model, call.ended_at or timezone.now())
        or Price.known(gateway, model, began, tokens.prompt + tokens.cached)
    )
