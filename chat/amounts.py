"""Money and tokens as a reader's language writes them."""

from decimal import Decimal

from babel.numbers import format_currency
from django.utils.formats import number_format
from django.utils.translation import get_language, ngettext

SIGNIFICANT_DIGITS = 2


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


def tokens(number: int) -> str:
    written = str(number_format(number, force_grouping=True))
    return ngettext("%(tokens)s token", "%(tokens)s tokens", number) % {"tokens": written}
