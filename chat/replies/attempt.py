"""One request for one reply: what the gateway sends goes to the log and to the checkpoints."""

import json
from contextlib import aclosing
from datetime import datetime
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Any

from django.utils import timezone

from chat.models.generations import NANO, CallEnd, Outcome
from chat.upstream.client import Client, Endpoint, Opened
from chat.upstream.errors import GatewayError
from chat.upstream.items import Delta, End, Finish, Link
from chat.upstream.usage import Usage

from .checkpoints import Writer
from .joint import Joint
from .log import MemoryLogs
from .prompt import estimate_messages, estimate_tokens

MAX_NANO = 2**63 - 1


class Attempt:
    """The state of a call that is under way; `end` makes its row's final state out of it."""

    def __init__(
        self,
        call: int,
        generation: int,
        logs: MemoryLogs,
        writer: Writer,
        joint: Joint | None = None,
    ) -> None:
        self._call = call
        self._generation = generation
        self._logs = logs
        self._writer = writer
        self._joint = joint  # to what the reply had, where it is continued
        self._usage: Usage | None = None
        self.finish_reason = ""
        self._opened: Opened | None = None
        self._first_delta_at: datetime | None = None
        self._prompt: list[dict[str, str]] = []
        self._received: list[str] = []
        self._links: list[dict[str, str]] = []

    @property
    def has_text(self) -> bool:
        return self._first_delta_at is not None

    async def run(self, client: Client, endpoint: Endpoint, body: dict[str, Any]) -> Outcome:
        """Follow the gateway to its end; raises GatewayError where there is no good one."""
        self._prompt = body["messages"]
        async with aclosing(client.stream(endpoint, body)) as items:
            async for item in items:
                match item:
                    case Delta():
                        self._take(item)
                    case Usage():
                        self._usage = item
                    case Finish():
                        self.finish_reason = item.reason
                    case Link():
                        self._links.append({"url": item.url, "title": item.title})
                    case Opened():
                        self._opened = item
                    case End(error=None):
                        return Outcome("complete", finish_reason=self.finish_reason)
                    case End(error=error):
                        raise error
        raise GatewayError("connection", reason="cut")

    def _take(self, delta: Delta) -> None:
        if not (delta.reasoning or delta.text):
            return
        if self._first_delta_at is None:
            self._first_delta_at = timezone.now()
        self._received.append(delta.reasoning + delta.text)
        self._append(delta.reasoning, self._joint.feed(delta.text) if self._joint else delta.text)

    def _append(self, reasoning: str, text: str) -> None:
        if reasoning or text:
            self._logs.append(self._generation, reasoning, text)
            self._writer.add(self._generation, reasoning, text)

    def end(self, outcome: Outcome) -> CallEnd:
        """The facts of this call, with the tokens of one that was cut estimated and marked so."""
        if self._joint:
            self._append("", self._joint.end())
        opened, usage = self._opened, self._usage
        facts: dict[str, Any] = {
            "call": self._call,
            "http_status": opened.status if opened else None,
            "request_id": (opened.request_id or "")[:200] if opened else "",
            "finish_reason": self.finish_reason[:64],
            "error_kind": outcome.error_kind,
            "error_message": outcome.error_message[:1000],
            "first_delta_at": self._first_delta_at,
            "links": tuple(self._links),
        }
        if usage is not None:
            facts |= reported(usage)
        elif self.has_text and outcome.status != "complete":
            facts |= self._estimated()
        return CallEnd(**facts)

    def _estimated(self) -> dict[str, Any]:
        asked = estimate_messages(self._prompt)
        answered = estimate_tokens("".join(self._received))
        return {
            "prompt_tokens": asked,
            "completion_tokens": answered,
            "total_tokens": asked + answered,
            "confidence": "estimated",
        }


def reported(usage: Usage) -> dict[str, Any]:
    """A gateway's usage as the columns of a call."""
    cost = nano(usage.cost)
    return {
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "total_tokens": usage.total_tokens,
        "cached_tokens": usage.cached_tokens,
        "reasoning_tokens": usage.reasoning_tokens,
        "usage_raw": json.dumps(usage.raw, ensure_ascii=False),
        "confidence": "exact",
        "cost_nano": cost,
        "currency": (usage.currency or "") if cost is not None else "",
        "cost_confidence": "unknown" if cost is None else "exact",
    }


def nano(amount: Decimal | None) -> int | None:
    """A sum of money in 10^-9 of its currency, rounded once; None for an absurd one."""
    if amount is None or not amount.is_finite() or amount < 0 or amount * NANO > MAX_NANO:
        return None
    return int((amount * NANO).quantize(Decimal(1), rounding=ROUND_HALF_EVEN))
