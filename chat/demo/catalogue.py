"""The gateway's own models and how each of them replies."""

from itertools import chain

import msgspec

from . import answers, wire
from .script import DONE, JSON, Drop, Fail, Finish, Pause, Raw, Role, Say, Script, Step, Tally

DELTAS_PER_SECOND = {"demo-fast": 200, "demo-slow": 8, "demo-reasoning": 30}
MISHAP_DELTAS_PER_SECOND = 40

# kind: HTTP status, OpenAI's type and code, message ({model} is the model asked for)
REFUSALS: dict[str, tuple[int, str, str | None, str]] = {
    "auth": (401, "invalid_request_error", "invalid_api_key", "Incorrect API key provided."),
    "not_found": (
        404,
        "invalid_request_error",
        "model_not_found",
        "The model `{model}` does not exist or you do not have access to it.",
    ),
    "bad_request": (
        400,
        "invalid_request_error",
        "unsupported_value",
        "This demo model refuses every request on purpose.",
    ),
    "rate_limit": (
        429,
        "rate_limit_error",
        "rate_limit_exceeded",
        "Rate limit reached for {model}. Please try again in 3 s.",
    ),
    "balance": (402, "insufficient_balance", "402", "Insufficient balance."),
    "server": (500, "server_error", None, "The demo server failed on purpose."),
    "overloaded": (503, "server_error", "overloaded", "The demo server is overloaded."),
}
RETRY_AFTER_S = {"rate_limit": 3, "overloaded": 3}

# How many pieces of the answer come before the mishap.
MISHAPS = {
    "drop": 60,
    "midstream": 60,
    "length": 60,
    "content_filter": 25,
    "hang": 25,
    "timeout": 0,
    "empty": 0,
}


def listing() -> bytes:
    """The body of GET /models."""
    # A model that answers "no such model" is not in the list, but may be asked for.
    names = chain(
        DELTAS_PER_SECOND,
        (f"demo-error-{kind}" for kind in (*REFUSALS, *MISHAPS) if kind != "not_found"),
    )
    entries = [
        {"id": name, "object": "model", "created": CREATED, "owned_by": "demo"} for name in names
    ]
    return msgspec.json.encode({"object": "list", "data": entries})


CREATED = 1_767_225_600  # 2026-01-01


def script_for(request: wire.Request) -> Script | None:
    """How the model asked for replies; None if it is not one of these."""
    if request.model in DELTAS_PER_SECOND:
        return answer(request, DELTAS_PER_SECOND[request.model])
    kind = request.model.removeprefix("demo-error-")
    if kind == request.model:
        return None
    if kind in REFUSALS:
        return refuse(kind, request)
    if kind in MISHAPS:
        return mishap(kind, request)
    return None


def answer(request: wire.Request, per_second: float) -> Script:
    if not request.stream and answers.asks_for_title(request.messages):
        text = answers.title(request.messages)
    else:
        text = answers.answer(request.messages)
    words = wire.pieces(text)
    steps: list[Step] = [Role()]
    if request.model == "demo-reasoning":
        thoughts = wire.pieces(answers.thoughts(request.messages))
        steps.append(Say(thoughts, per_second, "reasoning_content"))
    limit = request.token_limit or len(words)
    steps.append(Say(words[:limit], per_second))
    steps.append(Finish("length" if limit < len(words) else "stop"))
    return Script(steps + ending(request))


def refuse(kind: str, request: wire.Request) -> Script:
    status, error_type, code, message = REFUSALS[kind]
    param = "model" if kind == "not_found" else None
    body = wire.error(message.format(model=request.model), error_type, param, code)
    retry_after_s = RETRY_AFTER_S.get(kind)
    headers = ((b"retry-after", b"%d" % retry_after_s),) if retry_after_s else ()
    return Script([Raw(body)], status, JSON, headers)


def mishap(kind: str, request: wire.Request) -> Script:
    """The answer's beginning and then what the kind says; after Continue the rest comes whole."""
    words = wire.pieces(answers.answer(request.messages))
    if kind in ("drop", "midstream", "length") and answers.remainder(request.messages):
        return Script(
            [Role(), Say(words, MISHAP_DELTAS_PER_SECOND), Finish("stop"), *ending(request)]
        )
    spoken: list[Step] = [Role(), Say(words[: MISHAPS[kind]], MISHAP_DELTAS_PER_SECOND)]
    match kind:
        case "drop":
            return Script([*spoken, Drop()])
        case "midstream":
            return Script([*spoken, Fail("The demo server failed in mid-stream on purpose.")])
        case "hang":
            return Script([*spoken, Pause()])
        case "timeout":
            return Script([Pause()])
        case "empty":
            return Script([*spoken, Finish("stop"), *ending(request)])
        case _:
            return Script([*spoken, Finish(kind), *ending(request)])


def ending(request: wire.Request) -> list[Step]:
    return [Tally(), DONE] if request.wants_usage else [DONE]
