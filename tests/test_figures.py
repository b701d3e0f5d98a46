from decimal import Decimal

import pytest
from django.utils import translation

from chat.templatetags.figures import money, plain


@pytest.mark.parametrize(
    ("language", "amount", "currency", "written"),
    [
        ("en", "0.42", "USD", "$0.42"),
        ("en", "1234.5", "USD", "$1,234.50"),
        ("en", "3", "USD", "$3.00"),
        ("en", "0", "USD", "$0.00"),
        ("en", "0.000420000", "USD", "$0.00042"),
        ("en", "0.1", "RUB", "RUB\u00a00.10"),
        ("ru", "0.42", "RUB", "0,42\u00a0₽"),
        ("ru", "1234.56", "RUB", "1\u00a0234,56\u00a0₽"),
        ("ru", "0.0315", "RUB", "0,032\u00a0₽"),
        ("ru", "2", "USD", "2,00\u00a0$"),
    ],
)
def test_money_is_written_as_the_reader_writes_it(language, amount, currency, written):
    with translation.override(language):
        assert money(Decimal(amount), currency) == written


@pytest.mark.parametrize(
    ("amount", "written"),
    [
        ("0.420000000", "0.42"),
        ("4.2E-8", "0.000000042"),
        ("100", "100"),
        ("3.000000000", "3"),
        ("0E-9", "0"),
    ],
)
def test_an_amount_for_programs_is_in_full(amount, written):
    with translation.override("ru"):
        assert plain(Decimal(amount)) == written
