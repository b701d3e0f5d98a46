"""What can go wrong with a gateway: one error and its kinds. No I/O.

GatewayError.kind
├── the gateway refused
│   ├── auth          the key is missing, wrong, disabled or not allowed (401, 403)
│   ├── balance       the money is out (402, or a quota that waiting does not refill)
│   ├── not_found     no such model, or no such address (404)
│   ├── rate_limit    too many requests (429)
│   ├── bad_request   what was asked can't be done (400, 413, 422, ...)
│   └── server        the gateway or what is behind it failed (5xx, an error in mid-stream)
├── the gateway answered, but not with a reply
│   ├── protocol      not the protocol: HTML, broken JSON, a redirect, more than the bounds allow
│   ├── empty         a clean end with neither text nor reasoning
│   └── tool_calls    a clean end with nothing but tool calls
└── the answer did not come whole
    ├── connection    refused, unresolved, dropped, or ended without a finish sign
    └── timeout       a deadline passed
"""

from typing import Literal

Kind = Literal[
    "auth", "balance", "not_found", "rate_limit", "bad_request", "server",
    "protocol", "empty", "tool_calls", "connection", "timeout",
]  # fmt: skip

ATTEMPTS = 3
RETRY_WINDOW_S = 30.0
_LASTING = ("url", "tls", "forbidden")


class GatewayError(Exception):
    """A call to a gateway failed.

    parameters: where `reason` is `parameter`, those that it names, the most likely one first.
    message: the gateway's own words, cleaned, without keys, never HTML; None if it gave none.
    status: of the HTTP answer, or the one that an error inside a 200 names.
    reason: what tells the page more than the kind does:
        bad_request   context_length | content_filter | include_usage | parameter
        not_found     model
        empty         length | content_filter
        auth          key (no header can hold it)
        connection    url | dns | refused | tls | forbidden | dropped | cut (no finish sign)
        timeout       connect | first_byte | idle_bytes | idle_payload | total
        protocol      http | redirect | html | json | encoding | too_long | no_progress
      and before anything is sent, from `replies`:
        auth          sealed (the key can't be unsealed)
        bad_request   model_access (not open to whoever asks) | budget (which can't pay for it)
        connection    gateway (switched off)
    """

    def __init__(
        self,
        kind: Kind,
        message: str | None = None,
        *,
        status: int | None = None,
        retry_after_s: float | None = None,
        reason: str | None = None,
        parameters: tuple[str, ...] = (),
    ) -> None:
        super().__init__(kind, message, status, retry_after_s, reason, parameters)
        self.kind: Kind = kind
        self.message = message
        self.status = status
        self.retry_after_s = retry_after_s
        self.reason = reason
        self.parameters = parameters

    def __str__(self) -> str:
        status = f" {self.status}" if self.status else ""
        reason = f" ({self.reason})" if self.reason else ""
        return f"{self.kind}{status}{reason}" + (f": {self.message}" if self.message else "")


def retry_delay_s(error: GatewayError, attempt: int, elapsed_s: float) -> float | None:
    """How long to wait before asking again, None for don't. `attempt` 1 is the first that failed.

    Only for a call that brought no text: what a reader has seen is never asked for twice.
    """
    if attempt >= ATTEMPTS:
        return None
    backoff_s = 0.5 * 2.0 ** (attempt - 1)
    if error.kind == "connection":
        delay_s = None if error.reason in _LASTING else backoff_s
    elif error.status == 429:
        delay_s = error.retry_after_s
    elif error.status in (502, 503, 504):
        delay_s = backoff_s if error.retry_after_s is None else error.retry_after_s
    else:
        delay_s = None
    if delay_s is None or elapsed_s + delay_s > RETRY_WINDOW_S:
        return None
    return delay_s
