"""What was left on a gateway each time it was asked: between two of them it says what was spent."""

from decimal import Decimal

from django.db import models
from django.utils import timezone

from .gateways import Gateway
from .money import NANO


class Balance(models.Model):
    gateway = models.ForeignKey(Gateway, models.CASCADE, related_name="balances")
    at = models.DateTimeField(default=timezone.now)
    nano = models.BigIntegerField()  # may be below nought
    currency = models.CharField(max_length=3)

    class Meta:
        ordering = ["at", "id"]
        indexes = [models.Index(fields=["gateway", "at"], name="balance_at")]

    def __str__(self) -> str:
        return f"{self.amount:f} {self.currency} at {self.at:%Y-%m-%d %H:%M}"

    @property
    def amount(self) -> Decimal:
        return Decimal(self.nano) / NANO
