"""Budgets in roubles, and replies that are claimed, called and ended at their expense."""

from decimal import Decimal

import pytest

from chat.models import (
    Allowance,
    Budget,
    Call,
    Conversation,
    Gateway,
    Generation,
    Message,
    Price,
    User,
)
from chat.models.budgets import Weight
from chat.models.calls import CallEnd
from chat.models.generations import Outcome
from tests.rows import COMPLETE, gateway, person

USED = {
    "prompt_tokens": 10,
    "completion_tokens": 20,
    "total_tokens": 30,
    "confidence": "exact",
    "cost_nano": 7,
    "currency": "RUB",
    "cost_confidence": "exact",
}
# One token costs one 10^-9, in or out.
PRICE = Decimal("0.001")


def ann() -> User:
    return User.objects.first() or person()


def through() -> Gateway:
    return Gateway.objects.first() or gateway(currency="RUB")


@pytest.fixture(autouse=True)
def price() -> Price:
    facts = {"model": "m", "currency": "RUB", "prompt": PRICE, "completion": PRICE}
    return Price.objects.create(gateway=through(), **facts)


def with_margin(prompt: int) -> int:
    """What is held of a prompt that was estimated so long."""
    return prompt + prompt // 4


def asked_by(owner: User) -> Message:
    return Conversation.start(owner, "Hello", "m", through())


def budget(nano: int | None = None, **facts: object) -> Budget:
    """Of everybody's, a day's, hard, in roubles, unless said otherwise."""
    money = {"money": Decimal(nano).scaleb(-9), "currency": "RUB"} if nano is not None else {}
    return Budget.objects.create(**{"period": "day", "is_hard": True, **money, **facts})


def weighing(prompt: int = 10, reply: int = 100, bounded: bool = False):
    def weigh(generation: Generation) -> Weight:
        price = Price.expected(generation.message.gateway, generation.message.model, prompt)
        return Weight(prompt, reply, price, bounded)

    return weigh


def claim(prompt: int = 10, reply: int = 100) -> Generation | None:
    return Generation.claim("here", weigh=weighing(prompt, reply))


def begin(generation: Generation, attempt: int = 1, weight: Weight | None = None) -> Call:
    reply = generation.message
    return Call.begin(generation, reply.gateway, reply.model, attempt, weight)


def end(generation: Generation, call: Call, outcome: Outcome = COMPLETE, **facts: object) -> None:
    error = {"error_kind": outcome.error_kind}
    assert Generation.finish(
        generation.pk, generation.fence, outcome, CallEnd(call.pk, **error, **facts)
    )


def figures(of: Budget) -> tuple[int, int, int, int]:
    row = Allowance.objects.get(budget=of)
    return row.spent_nano, row.held_nano, row.spent_tokens, row.held_tokens
