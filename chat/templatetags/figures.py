"""Figures as a reader's language writes them, and as attributes carry them to programs."""

import json
from decimal import Decimal

from babel.units import format_unit
from django import template
from django.utils.translation import get_language, ngettext

from chat.amounts import money

register = template.Library()
register.filter("money", money)


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
