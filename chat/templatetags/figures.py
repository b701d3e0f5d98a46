"""Figures as a reader's language writes them, and as attributes carry them to programs."""

from decimal import Decimal

from babel.numbers import format_currency
from django import template
from django.utils.translation import get_language

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
def strip(html: str) -> str:
    """Without white space around, which would be a text node among the messages."""
    return html.strip()
