"""Figures as a reader's language writes them, and as attributes carry them to programs."""

import json
from decimal import Decimal

from babel.numbers import format_currency
from babel.units import format_unit
from django import template
from django.utils.translation import get_language, ngettext

register = template.Library()

SIGNIFICANT_DIGITS = 2


@register.filter
def money(amount: Decimal, currency: str) -> str:
    """The amount with its sign: at least two decimals, and for less than one as many as say it."""
    decimals = max(2, SIGNIFICANT_DIGITS - 1 - amount.adjusted()) if amount else 2
    written = format_currency(
        round(amount, decimals),
        currency,
        locale=get_language() or "en",
        decimal_quantization=False,
    )
    # Babel sets a code without a sign of its own right against the figures.
    return (
        written.replace(currency, f"{currency}\N{NO-BREAK SPACE}")
        if written.startswith(currency)
        else written
    )


@register.filter
def plain(amount: Decimal) -> str:
    """The amount in full for programs: no exponent, no grouping, no idle zeros."""
    text = f"{amount:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


@register.filter
def duration(seconds: int) -> str:
    """As `elapsed.js` writes it while it counts."""
    minutes, seconds = divmod(seconds, 60)
    parts = [(minutes, "duration-minute"), (seconds, "duration-second")]
    language = get_language() or "en"
    written = [format_unit(n, unit, "narrow", locale=language) for n, unit in parts if n]
    return " ".join(written) or format_unit(0, "duration-second", "narrow", locale=language)


@register.simple_tag
def about_tokens() -> str:
    """'≈ # tokens' for each of a language's plural forms, as JSON, to be counted in the browser."""
    examples = {"one": 1, "few": 2, "many": 5, "other": 10}
    return json.dumps(
        {form: ngettext("≈ # token", "≈ # tokens", n) for form, n in examples.items()},
        ensure_ascii=False,
    )


@register.filter
def short(tokens: int) -> str:
    """A context's size as people say it: 128K, 1M."""
    return f"{tokens / 1e6:.3g}M" if tokens >= 1_000_000 else f"{tokens / 1e3:.3g}K"


@register.filter
def strip(html: str) -> str:
    """Without white space around, which would be a text node among the messages."""
    return html.strip()
