"""Rates between currencies, entered by staff: for a converted total beside the true ones only."""

from datetime import date

from django.db import models
from django.db.models import OuterRef, Subquery
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from .money import MoneyField


def today() -> date:
    return timezone.localdate(timezone=timezone.get_default_timezone())


class Rate(models.Model):
    """What one unit of a currency is worth in another from a day on. Rows are only added: the next one
    ends this one, and of two for one day the later counts.
    """

    day = models.DateField(_("from the day"), default=today)
    currency = models.CharField(_("one unit of"), max_length=3)
    into = models.CharField(_("in the currency"), max_length=3)
    rate = MoneyField(_("is worth"))

    class Meta:
        ordering = ["-day", "-id"]
        indexes = [models.Index(fields=["into", "currency", "day"], name="rate_at")]
        verbose_name = _("rate")
        verbose_name_plural = _("rates")

    def __str__(self) -> str:
        return f"1 {self.currency} = {self.rate:f} {self.into}"

    @classmethod
    def target(cls) -> str:
        """The currency that is converted into: that of the row entered last; '' without any."""
        last = cls.objects.order_by("-pk").first()
        return last.into if last else ""

    @classmethod
    def of_day(cls, into: str) -> Subquery:
        """For rows with `currency` and `day`: the rate of that day; None where none is told."""
        told = cls.objects.filter(
            into=into, currency=OuterRef("currency"), day__lte=OuterRef("day")
        )
        return Subquery(told.order_by("-day", "-pk").values("rate")[:1])
