"""Budgets: how much money or how many tokens a person, a group or everybody may use in a period.

A hard one refuses a call that it may not be able to pay; a soft one only warns. How much was used in
one period stands in an allowance, which changes in the transactions that claim a reply and end a call.
"""

from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from typing import TYPE_CHECKING, NamedTuple, Self

from django.conf import settings
from django.contrib.auth.models import Group
from django.db import models
from django.db.models import Q
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from .money import MoneyField, nano
from .prices import Billable, Price

if TYPE_CHECKING:
    from .allowances import Allowance
    from .people import User


class Weight(NamedTuple):
    """The most that a call is expected to use, which is held for it until it has ended.

    `is_bounded`: the reply can't be longer, whatever the request says.
    """

    prompt_tokens: int
    reply_tokens: int
    price: Price | None = None
    is_bounded: bool = False

    @property
    def tokens(self) -> int:
        return self.prompt_tokens + self.reply_tokens

    def cost_nano(self, currency: str) -> int | None:
        """None where it isn't known in this currency."""
        if self.price is None or self.price.currency != currency:
            return None
        return self.price.cost_nano(Billable(self.prompt_tokens, 0, self.reply_tokens))


@dataclass(frozen=True)
class Refusal:
    """Why a call was not made, as it is kept with the reply: money in 10^-9 of its currency.

    `reason` is `limit`, or `price` where nothing says what the model costs in the currency.
    """

    reason: str
    scope: str  # user, group or everyone
    group: str
    period: str
    limit: int
    spent: int
    held: int  # by calls that run
    currency: str  # '' for tokens
    until: str  # a moment, in ISO format
    contact: str

    @property
    def resets_at(self) -> datetime:
        return datetime.fromisoformat(self.until)

    @property
    def wait_s(self) -> int:
        return max(1, round((self.resets_at - timezone.now()).total_seconds()))


class OverBudget(Exception):
    """A hard budget can't pay for a call."""

    def __init__(self, allowance: "Allowance", refusal: Refusal) -> None:
        super().__init__(refusal)
        self.allowance = allowance
        self.refusal = refusal


class BudgetQuerySet(models.QuerySet["Budget"]):
    def applying_to(self, user: "User") -> Self:
        """All that this person's calls are charged to."""
        of_groups = Q(group__in=user.groups.through.objects.filter(user=user).values("group"))
        return self.filter(Q(user=user) | of_groups | Q(user=None, group=None)).order_by("pk")


class Budget(models.Model):
    class Period(models.TextChoices):
        DAY = "day", _("day")
        WEEK = "week", _("week")
        MONTH = "month", _("month")

    # Neither user nor group: everybody.
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        models.CASCADE,
        null=True,
        blank=True,
        related_name="budgets",
        verbose_name=_("person"),
    )
    group = models.ForeignKey(
        Group, models.CASCADE, null=True, blank=True, related_name="+", verbose_name=_("group")
    )
    is_each = models.BooleanField(
        _("for each person"),
        default=False,
        help_text=_("Each member has this much. Off: all share it."),
    )
    period = models.CharField(_("period"), max_length=5, choices=Period, default=Period.MONTH)
    money = MoneyField(_("money"), null=True, blank=True)
    currency = models.CharField(_("currency"), max_length=3, blank=True)
    tokens = models.BigIntegerField(_("tokens"), null=True, blank=True)
    is_hard = models.BooleanField(
        _("refuses"),
        default=False,
        help_text=_("What it can't pay is refused. Off: it only warns."),
    )
    contact = models.CharField(_("whom to ask"), max_length=200, blank=True)
    # Addresses separated by commas; and of a server that is told as well.
    emails = models.CharField(_("warn by e-mail"), max_length=1000, blank=True)
    webhook = models.CharField(_("warn by webhook"), max_length=500, blank=True)
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    objects = BudgetQuerySet.as_manager()

    class Meta:
        ordering = ["id"]
        verbose_name = _("budget")
        verbose_name_plural = _("budgets")
        constraints = [
            models.CheckConstraint(
                condition=Q(user=None) | Q(group=None), name="budget_has_one_scope"
            ),
            models.CheckConstraint(
                condition=Q(money__isnull=False) | Q(tokens__isnull=False), name="budget_has_limit"
            ),
        ]

    def __str__(self) -> str:
        """Without a person's name: not all who see budgets see names."""
        whose = self.group or (_("one person") if self.user_id else _("everybody"))
        return f"{whose}, {self.get_period_display()}"

    @property
    def scope(self) -> str:
        """Of whom a reader is told that it is: one of their own is `user`."""
        if self.user_id or self.is_each:
            return "user"
        return "group" if self.group_id else "everyone"

    @property
    def limit_nano(self) -> int | None:
        return nano(self.money)

    # --- time, in the installation's zone -----------------------------------------------------

    @property
    def starts_on(self) -> date:
        """The first day of the period that today lies in."""
        day = timezone.localdate(timezone=timezone.get_default_timezone())
        match self.period:
            case self.Period.WEEK:
                return day - timedelta(days=day.weekday())
            case self.Period.MONTH:
                return day.replace(day=1)
        return day

    def resets_at(self, starts_on: date) -> datetime:
        """When a period that starts on this day is over."""
        match self.period:
            case self.Period.WEEK:
                end = starts_on + timedelta(days=7)
            case self.Period.MONTH:
                end = (starts_on + timedelta(days=31)).replace(day=1)
            case _:
                end = starts_on + timedelta(days=1)
        return timezone.make_aware(datetime.combine(end, time.min), timezone.get_default_timezone())
