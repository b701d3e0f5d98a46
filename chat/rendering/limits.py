"""Budgets as their people read them: what is left, and why something was refused and what to do."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from django.utils.formats import date_format
from django.utils.timezone import localtime
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from chat import amounts
from chat.models import Allowance, Budget
from chat.models.budgets import Refusal
from chat.models.money import NANO

NEAR_PERCENT = 80
Period = Budget.Period


@dataclass(frozen=True)
class Level:
    """How far one limit is used, what calls that run hold included."""

    whose: str
    used: str
    limit: str
    left: str
    percent: int
    resets_at: datetime
    is_hard: bool
    contact: str

    @property
    def is_near(self) -> bool:
        return self.percent >= NEAR_PERCENT


def levels(allowances: Iterable[Allowance]) -> list[Level]:
    """Of each limit of these budgets, the fullest first."""
    found = []
    for each in allowances:
        budget = each.budget
        if (limit := budget.limit_nano) is not None:
            used = each.spent_nano + each.held_nano
            found.append(_level(each, used, limit, budget.currency))
        if budget.tokens is not None:
            used = each.spent_tokens + each.held_tokens
            found.append(_level(each, used, budget.tokens, ""))
    return sorted(found, key=lambda level: -level.percent)


def _level(allowance: Allowance, used: int, limit: int, currency: str) -> Level:
    budget = allowance.budget
    return Level(
        whose=whose(budget.scope, budget.period, budget.group.name if budget.group else ""),
        used=amount(used, currency),
        limit=amount(limit, currency),
        left=amount(max(0, limit - used), currency),
        percent=min(100, used * 100 // limit) if limit else 100,
        resets_at=allowance.resets_at,
        is_hard=budget.is_hard,
        contact=budget.contact,
    )


def told(refusal: Refusal) -> tuple[str, str]:
    """What happened, and what to do."""
    name = whose(refusal.scope, refusal.period, refusal.group)
    if refusal.reason == "price":
        sentence = _("%(limit)s can't cover this model: its price in %(currency)s isn't known.")
        said = sentence % {"limit": name, "currency": refusal.currency}
        return said, f"{_('Choose another model.')} {_whom(refusal.contact)}"
    facts = {
        "limit": name,
        "used": amount(refusal.spent, refusal.currency),
        "all": amount(refusal.limit, refusal.currency),
        "held": amount(refusal.held, refusal.currency),
    }
    if refusal.held:
        sentence = _(
            "%(limit)s is reached: of %(all)s, %(used)s are used"
            " and %(held)s are held by replies that run."
        )
    else:
        sentence = _("%(limit)s is reached: %(used)s of %(all)s are used.")
    until = date_format(localtime(refusal.resets_at), "DATETIME_FORMAT")
    resets = _("It begins anew on %(when)s.") % {"when": until}
    return sentence % facts, f"{resets} {_whom(refusal.contact)}"


def too_fast(wait_s: int) -> tuple[str, str]:
    """The same for somebody who asks faster than people may."""
    advice = ngettext("Try again in %(n)d second.", "Try again in %(n)d seconds.", wait_s)
    return _("You have asked a lot within a minute."), advice % {"n": wait_s}


def amount(number: int, currency: str) -> str:
    """Money in 10^-9 of its currency; tokens where that is ''."""
    return amounts.money(Decimal(number) / NANO, currency) if currency else amounts.tokens(number)


def whose(scope: str, period: str, group: str) -> str:
    """The name of a limit, as a sentence begins with it."""
    match scope, period:
        case "user", Period.DAY:
            return _("Your limit for the day")
        case "user", Period.WEEK:
            return _("Your limit for the week")
        case "user", _month:
            return _("Your limit for the month")
        case "group", Period.DAY:
            return _("The day's limit of the group %(group)s") % {"group": group}
        case "group", Period.WEEK:
            return _("The week's limit of the group %(group)s") % {"group": group}
        case "group", _month:
            return _("The month's limit of the group %(group)s") % {"group": group}
        case _everyone, Period.DAY:
            return _("The day's limit of this installation")
        case _everyone, Period.WEEK:
            return _("The week's limit of this installation")
    return _("The month's limit of this installation")


def _whom(contact: str) -> str:
    if contact:
        return _("Ask for more: %(contact)s.") % {"contact": contact}
    return _("An administrator can raise it.")
