"""Money as whole numbers of 10^-9 of its currency: SQLite would add decimals as floats."""

from decimal import ROUND_HALF_EVEN, Decimal, InvalidOperation
from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.core.validators import MinValueValidator
from django.db import models
from django.utils.translation import gettext_lazy as _

NANO = Decimal(10) ** 9
MAX_NANO = 2**63 - 1


def nano(amount: Decimal | None) -> int | None:
    """A sum of money in 10^-9 of its currency, rounded once, half to even; None for an absurd one."""
    if amount is None or not amount.is_finite() or not 0 <= amount <= MAX_NANO / NANO:
        return None
    return int((amount * NANO).quantize(Decimal(1), rounding=ROUND_HALF_EVEN))


class MoneyField(models.BigIntegerField):
    """A Decimal in Python and in forms, a whole number of 10^-9 in the database."""

    def from_db_value(self, value: int | None, *_args: object) -> Decimal | None:
        return None if value is None else Decimal(value) / NANO

    def to_python(self, value: Any) -> Decimal | None:
        try:
            return None if value is None else Decimal(str(value))
        except InvalidOperation as error:
            raise ValidationError(_("Enter a number."), code="invalid") from error

    def get_prep_value(self, value: Any) -> Any:
        if value is None or hasattr(value, "resolve_expression"):
            return value
        found = nano(Decimal(value))
        if found is None:
            raise ValueError(f"{value} is no sum of money")
        return found

    def formfield(self, **kwargs: Any) -> forms.Field | None:
        limits: dict[str, Any] = {"max_digits": 15, "decimal_places": 9, "min_value": 0}
        return models.Field.formfield(self, form_class=forms.DecimalField, **(limits | kwargs))

    @property
    def validators(self) -> list[Any]:
        return [MinValueValidator(Decimal(0))]
