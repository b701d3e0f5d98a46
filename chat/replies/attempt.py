"""One request for one reply: what the gateway sends goes to the log and to the checkpoints."""

import json
from contextlib import aclosing
from datetime import datetime
from typing import Any

from django.utils import timezone

from chat.models.calls import CallEnd
from chat.models.generations import Outcome
from chat.models.money import nano
from chat.upstream.client import Client, Endpoint, Opened
from chat.upstream.errors import GatewayError
from chat.upstream.items import Delta, End, Finish, Image, Link
from chat.upstream.usage import Usage

from . import estimates
from .checkpoints import Writer
from .joint import Joint
from .log import Logs

_TOKENS = (
    "prompt_tokens",
    "completion_tokens",
    "total_tokens",
    "cached_tokens",
    "reasoning_tokens",
)


class Attempt:
    """The state of a call that is under way; `end` makes its row's final state out of it."""

    def __init__(
        self,
        call: int,
        generation: int,
        logs: Logs,
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
        self._images: list[str] = []

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
                    case Image(url=url) if url.startswith("data:"):
                        self._images.append(url)
                    case Image():
                        self._links.append({"url": item.url, "title": ""})
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
            "images": tuple(self._images),
        }
        if usage is not None:
            is_last = outcome.status == "complete" or bool(self.finish_reason)
            facts |= reported(usage, is_last)
        elif self.has_text and outcome.status != "complete":
            facts |= estimates.of_cut_call(self._prompt, "".join(self._received))
        return CallEnd(**facts)


def reported(usage: Usage, is_last: bool = True) -> dict[str, Any]:
    """A gateway's usage as the columns of a call.

    Not `is_last`: the stream was cut, and a gateway that reports on every chunk would have said more.
    """
    sure = "exact" if is_last else "estimated"
    tokens = {name: getattr(usage, name) for name in _TOKENS}
    cost = nano(usage.cost)
    return tokens | {
        "usage_raw": json.dumps(usage.raw, ensure_ascii=False),
        "confidence": "unknown" if set(tokens.values()) == {None} else sure,
        "cost_nano": cost,
        "currency": (usage.currency or "") if cost is not None else "",
        "cost_confidence": "unknown" if cost is None else sure,
    }
