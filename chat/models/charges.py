"""Charges: what one call takes from each allowance that it falls under.

    held at the claim, for the most that the call may use -> spent, what it did use
    held at the claim -> taken back, where it ended without a call

An allowance is the sum of its charges. It changes in the transactions that claim a reply, begin,
end and correct a call, and those take the allowances' locks in one order.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from django.db import models, transaction
from django.db.models import F, OuterRef, Q, Subquery, Sum
from django.db.models.functions import Coalesce

from .allowances import Allowance, afford
from .budgets import Budget, OverBudget, Weight
from .notices import Notice
from .uses import of_ended

if TYPE_CHECKING:
    from .calls import Call
    from .generations import Generation
    from .people import User

# Estimates of a prompt are up to a fifth too low.
_MARGIN = 4
_SUMS = ("spent_nano", "held_nano", "spent_tokens", "held_tokens")


class Charge(models.Model):
    allowance = models.ForeignKey(Allowance, models.CASCADE, related_name="charges")
    # Of what was claimed, until its call begins.
    generation = models.ForeignKey("Generation", models.SET_NULL, null=True, related_name="+")
    call = models.ForeignKey("Call", models.SET_NULL, null=True, related_name="charges")
    is_open = models.BooleanField(default=True)
    prompt_tokens = models.BigIntegerField(default=0)
    held_nano = models.BigIntegerField(default=0)
    held_tokens = models.BigIntegerField(default=0)
    spent_nano = models.BigIntegerField(default=0)
    spent_tokens = models.BigIntegerField(default=0)
    # The gateway said nothing of what it used: a guess, and no part of the ledger.
    is_estimated = models.BooleanField(default=False)

    class Meta:
        indexes = [
            models.Index(fields=["id"], name="charge_open", condition=Q(is_open=True)),
        ]

    def __str__(self) -> str:
        return f"{self.allowance_id} {self.call_id} {self.spent_nano} {self.spent_tokens}"

    # --- before a call ------------------------------------------------------------------------

    @classmethod
    def hold(
        cls, user: "User", weigh: Callable[[], Weight | None], **whose: "Generation | Call"
    ) -> Weight | None:
        """Hold what a call may use, in the caller's transaction; returns what the budgets leave it.

        None where no budget applies. Raises OverBudget before anything is held.
        """
        budgets = list(Budget.objects.applying_to(user))
        weight = weigh() if budgets else None
        if weight is None:
            return None
        allowances = Allowance.locked(budgets, user)
        held = afford(allowances, with_margin(weight))
        costs = {each.pk: held.cost_nano(each.budget.currency) or 0 for each in allowances}
        for nano in set(costs.values()):
            alike = [pk for pk, cost in costs.items() if cost == nano]
            Allowance.objects.filter(pk__in=alike).update(
                held_nano=F("held_nano") + nano, held_tokens=F("held_tokens") + held.tokens
            )
        facts: dict[str, Any] = {"prompt_tokens": weight.prompt_tokens, **whose}
        charges = [
            cls(allowance=each, held_nano=costs[each.pk], held_tokens=held.tokens, **facts)
            for each in allowances
        ]
        cls.objects.bulk_create(charges)
        return held

    @classmethod
    def refusal(cls, user: "User", weigh: Callable[[], Weight]) -> OverBudget | None:
        """Why a call that this person asks for would not be made now; nothing is held."""
        budgets = list(Budget.objects.applying_to(user).filter(is_hard=True))
        if not budgets:
            return None
        try:
            afford(Allowance.of(budgets, user), with_margin(weigh()))
        except OverBudget as error:
            return error
        return None

    @classmethod
    def take(cls, generation: "Generation", call: "Call", weight: Weight | None) -> None:
        """Charge a call with what was held at its claim, or hold anew where that isn't what it is.

        Raises OverBudget.
        """
        if weight is None:
            cls.objects.filter(generation=generation, call=None).update(call=call)
        else:
            cls.release(generation)
            allowed = cls.hold(generation.user, lambda: weight, generation=generation, call=call)
            generation.allow(allowed)
            generation.save(update_fields=["is_charged", "allowed_tokens"])
        if generation.is_charged:
            call.mark_charged()

    @classmethod
    def release(cls, generation: "Generation") -> None:
        """Take back what is held for a call that wasn't made."""
        cls._close(cls.objects.filter(generation=generation, call=None, is_open=True))

    @classmethod
    def _close(cls, unused: "models.QuerySet[Charge]") -> None:
        _lock(unused)
        # Read under the locks: somebody else may have closed some of them until then.
        charges = list(unused.select_related("allowance"))
        for charge in charges:
            charge._change(held_nano=-charge.held_nano, held_tokens=-charge.held_tokens)
        cls.objects.filter(pk__in=[charge.pk for charge in charges]).delete()

    # --- after it -----------------------------------------------------------------------------

    @classmethod
    def settle(cls, call: "Call") -> None:
        """Put what an ended call used in the place of what was held, or thought before."""
        if not call.is_charged:
            return
        of_call = cls.objects.filter(call=call)
        _lock(of_call)
        charges = list(of_call.select_related("allowance__budget"))
        wanted = {charge.allowance.budget.currency for charge in charges} - {""}
        use = of_ended(call, charges[0].prompt_tokens if charges else 0, wanted)
        for charge in charges:
            # A money budget that can't be told what it cost keeps what it was thought to.
            thought = charge.held_nano if charge.is_open else charge.spent_nano
            nano = use.costs.get(charge.allowance.budget.currency, thought if use.tokens else 0)
            charge._change(
                held_nano=-charge.held_nano,
                held_tokens=-charge.held_tokens,
                spent_nano=nano - charge.spent_nano,
                spent_tokens=use.tokens - charge.spent_tokens,
            )
            cls.objects.filter(pk=charge.pk).update(
                held_nano=0,
                held_tokens=0,
                spent_nano=nano,
                spent_tokens=use.tokens,
                is_estimated=use.is_estimated,
                is_open=False,
            )
            Notice.follow(charge.allowance)

    def _change(self, **by: int) -> None:
        """Change the allowance, which is locked, and what was read of it under that lock."""
        changes = {name: F(name) + amount for name, amount in by.items() if amount}
        if changes:
            Allowance.objects.filter(pk=self.allowance_id).update(**changes)
        for name, amount in by.items():
            setattr(self.allowance, name, getattr(self.allowance, name) + amount)

    # --- proof --------------------------------------------------------------------------------

    @classmethod
    def settle_left(cls) -> None:
        """Close what a process of an older version, or a deletion, left open."""
        from .calls import Call

        is_open = cls.objects.filter(is_open=True)
        left = Call.objects.filter(pk__in=is_open.values("call"), ended_at__isnull=False)
        for pk in list(left.values_list("pk", flat=True)):
            # One at a time: the locks of several would be taken in no order.
            with transaction.atomic():
                cls.settle(Call.objects.select_for_update().get(pk=pk))
        unmade = is_open.filter(call=None)
        with transaction.atomic():
            cls._close(unmade.filter(Q(generation=None) | Q(generation__ended_at__isnull=False)))

    @classmethod
    def rebuild(cls) -> None:
        """Let charges say what their calls do, and allowances what their charges add up to."""
        from .calls import Call

        cls.settle_left()
        called = Call.objects.filter(pk=OuterRef("call"))
        with transaction.atomic():
            _lock(cls.objects.all())
            for name, known in _known().items():
                figure = Subquery(called.values(known["is"]))
                cls.objects.filter(known["where"]).update(**{name: figure})
            Allowance.objects.update(**{name: _sum_of(name) for name in _SUMS})

    @classmethod
    def differences(cls) -> int:
        """How many charges aren't what their calls say, and allowances what their charges do."""
        wrong = 0
        for name, known in _known().items():
            wrong += (
                cls.objects.filter(known["where"])
                .exclude(**{name: F(f"call__{known['is']}")})
                .count()
            )
        sums = Allowance.objects.annotate(**{f"true_{name}": _sum_of(name) for name in _SUMS})
        differ = Q()
        for name in _SUMS:
            differ |= ~Q(**{name: F(f"true_{name}")})
        return wrong + sums.filter(differ).count()


def with_margin(weight: Weight) -> Weight:
    return weight._replace(prompt_tokens=weight.prompt_tokens + weight.prompt_tokens // _MARGIN)


def _lock(charges: "models.QuerySet[Charge]") -> None:
    """The allowances of these, in the order in which all take them."""
    wanted = Allowance.objects.filter(pk__in=charges.order_by().values("allowance"))
    list(wanted.order_by("budget_id", "id").select_for_update().values_list("pk"))


def _known() -> dict[str, dict[str, Any]]:
    """Which figures of an ended charge are its call's, and which of the call's they are."""
    ended = Q(is_open=False, is_estimated=False, call__ended_at__isnull=False)
    in_currency = Q(call__currency=F("allowance__budget__currency"))
    # An UPDATE can't join; a subquery can.
    money = Charge.objects.filter(ended & in_currency, call__cost_nano__isnull=False)
    tokens = Charge.objects.filter(ended, call__total_tokens__isnull=False)
    return {
        "spent_nano": {"where": Q(pk__in=money.values("pk")), "is": "cost_nano"},
        "spent_tokens": {"where": Q(pk__in=tokens.values("pk")), "is": "total_tokens"},
    }


def _sum_of(name: str) -> Coalesce:
    charges = Charge.objects.filter(allowance=OuterRef("pk")).order_by().values("allowance")
    total = charges.annotate(total=Sum(name)).values("total")
    return Coalesce(Subquery(total, output_field=models.BigIntegerField()), 0)
