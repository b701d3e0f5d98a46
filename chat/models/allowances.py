"""Allowances: what of a budget has been used in one period, is held by calls that run, and is left."""

from collections.abc import Iterable
from datetime import datetime
from typing import TYPE_CHECKING

from django.conf import settings
from django.db import models
from django.db.models import Q

from .budgets import Budget, OverBudget, Refusal, Weight
from .money import MAX_NANO

if TYPE_CHECKING:
    from .people import User

# A call that could bring no more than this isn't worth its prompt.
LEAST_REPLY_TOKENS = 256


class Allowance(models.Model):
    """What of one budget has been used in one period, and is held by calls that run."""

    budget = models.ForeignKey(Budget, models.CASCADE, related_name="allowances")
    # Of a budget for each person.
    user = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, null=True, related_name="+")
    starts_on = models.DateField()
    spent_nano = models.BigIntegerField(default=0)
    held_nano = models.BigIntegerField(default=0)
    spent_tokens = models.BigIntegerField(default=0)
    held_tokens = models.BigIntegerField(default=0)
    # The highest of WARNS_AT that was told.
    warned = models.PositiveSmallIntegerField(default=0)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["budget", "starts_on"], condition=Q(user=None), name="allowance_of_all"
            ),
            models.UniqueConstraint(
                fields=["budget", "starts_on", "user"],
                condition=Q(user__isnull=False),
                name="allowance_of_each",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.budget_id} {self.starts_on} {self.user_id or ''}"

    @classmethod
    def of(cls, budgets: Iterable[Budget], user: "User") -> "list[Allowance]":
        """This person's in the periods of now, by the order of the budgets; new ones unsaved."""
        wanted = [
            cls(budget=b, user=user if b.is_each else None, starts_on=b.starts_on) for b in budgets
        ]
        found = {row.budget_id: row for row in cls.objects.filter(_any_of(wanted))}
        for each in wanted:
            if each.budget_id in found:
                found[each.budget_id].budget = each.budget
        return [found.get(each.budget_id, each) for each in wanted]

    @classmethod
    def locked(cls, budgets: Iterable[Budget], user: "User") -> "list[Allowance]":
        """The same, saved and kept from others until the caller's transaction is over."""
        allowances = cls.of(budgets, user)
        # In the one order in which all take them: first those to be made, then the locks.
        new = [each for each in allowances if each.pk is None]
        cls.objects.bulk_create(new, ignore_conflicts=True)
        by_budget = {each.budget_id: each.budget for each in allowances}
        rows = cls.objects.filter(_any_of(allowances)).order_by("budget_id", "id")
        found = list(rows.select_for_update())
        for row in found:
            row.budget = by_budget[row.budget_id]
        return found

    @property
    def resets_at(self) -> datetime:
        return self.budget.resets_at(self.starts_on)

    @property
    def percent(self) -> int:
        """How much of the limit is spent; of two limits that of which more is."""
        return max(
            _percent(self.spent_nano, self.budget.limit_nano),
            _percent(self.spent_tokens, self.budget.tokens),
        )

    def afford(self, weight: Weight) -> int:
        """How many reply tokens a hard budget can pay for; raises OverBudget if that's too few."""
        tokens_left = money_left = weight.reply_tokens
        if self.budget.tokens is not None:
            free = self.budget.tokens - self.spent_tokens - self.held_tokens
            tokens_left = min(tokens_left, free - weight.prompt_tokens)
        if (limit_nano := self.budget.limit_nano) is not None:
            price = weight.price
            if price is None or price.currency != self.budget.currency:
                raise OverBudget(self, self._refusal("price", is_money=True))
            free = limit_nano - self.spent_nano - self.held_nano
            money_left = min(money_left, price.reply_tokens(free, weight.prompt_tokens))
        left = min(tokens_left, money_left)
        if left < min(LEAST_REPLY_TOKENS, weight.reply_tokens):
            raise OverBudget(self, self._refusal("limit", is_money=money_left <= tokens_left))
        return left

    def _refusal(self, reason: str, is_money: bool) -> Refusal:
        budget = self.budget
        is_money = is_money and budget.money is not None
        return Refusal(
            reason=reason,
            scope=budget.scope,
            group=budget.group.name if budget.group else "",
            period=budget.period,
            limit=(budget.limit_nano if is_money else budget.tokens) or 0,
            spent=self.spent_nano if is_money else self.spent_tokens,
            held=self.held_nano if is_money else self.held_tokens,
            currency=budget.currency if is_money else "",
            until=self.resets_at.isoformat(),
            contact=budget.contact,
        )


def afford(allowances: Iterable[Allowance], weight: Weight) -> Weight:
    """What the hard ones among these can pay for together; raises OverBudget."""
    hard = [each for each in allowances if each.budget.is_hard]
    left = min((each.afford(weight) for each in hard), default=weight.reply_tokens)
    # Nothing has to keep the reply within what it can't exceed, or within what nobody refuses.
    is_bounded = not hard or (weight.is_bounded and left == weight.reply_tokens)
    return weight._replace(reply_tokens=left, is_bounded=is_bounded)


def _any_of(wanted: Iterable[Allowance]) -> Q:
    found = Q(pk__in=())
    for each in wanted:
        found |= Q(budget=each.budget_id, starts_on=each.starts_on, user=each.user)
    return found


def _percent(spent: int, limit: int | None) -> int:
    if limit is None:
        return 0
    return min(spent * 100 // limit, MAX_NANO) if limit else 100
