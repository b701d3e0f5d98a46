"""OpenAI's shapes: the request as it comes, the chunks, completions and errors that go back."""

import re
import time
import uuid
from typing import Annotated, Any

import msgspec

DONE = b"data: [DONE]\n\n"

Positive = Annotated[int, msgspec.Meta(ge=1)]

_encode = msgspec.json.Encoder().encode


class Message(msgspec.Struct):
    role: str
    content: str | list[dict[str, Any]] | None = None

    @property
    def text(self) -> str:
        """The text parts, joined by line ends."""
        if isinstance(self.content, list):
            return "\n".join(str(part["text"]) for part in self.content if "text" in part)
        return self.content or ""


class StreamOptions(msgspec.Struct):
    include_usage: bool | None = False


class Request(msgspec.Struct):
    model: str = ""
    messages: list[Message] = []
    stream: bool | None = False
    stream_options: StreamOptions | None = None
    max_tokens: Positive | None = None
    max_completion_tokens: Positive | None = None

    @property
    def wants_usage(self) -> bool:
        return bool(self.stream_options and self.stream_options.include_usage)

    @property
    def token_limit(self) -> int | None:
        return self.max_completion_tokens or self.max_tokens


class Usage(msgspec.Struct):
    prompt: int
    completion: int
    reasoning: int = 0
    cached: int = 0

    def as_openai(self) -> dict[str, Any]:
        return {
            "prompt_tokens": self.prompt,
            "completion_tokens": self.completion,
            "total_tokens": self.prompt + self.completion,
            "prompt_tokens_details": {"cached_tokens": self.cached},
            "completion_tokens_details": {"reasoning_tokens": self.reasoning},
        }


class Chunks:
    """The server-sent events of one completion; what all deltas share is encoded once."""

    def __init__(self, request: Request) -> None:
        head = {
            "id": f"chatcmpl-{uuid.uuid4().hex}",
            "object": "chat.completion.chunk",
            "created": int(time.time()),
            # A script is a name too long to be repeated on every chunk.
            "model": request.model.partition("/")[0],
            "system_fingerprint": None,
        }
        self._head = b"data: " + _encode(head)[:-1]
        # With include_usage OpenAI puts "usage": null on every chunk but the last.
        self._tail = b',"usage":null}\n\n' if request.wants_usage else b"}\n\n"
        self._open = self._head + b',"choices":[{"index":0,"delta":{'
        self._close = b'},"logprobs":null,"finish_reason":null}]' + self._tail

    def role(self) -> bytes:
        return self._open + b'"role":"assistant","content":""' + self._close

    def delta(self, text: str, key: str = "content") -> bytes:
        return b'%b"%b":%b%b' % (self._open, key.encode(), _encode(text), self._close)

    def finish(self, reason: str) -> bytes:
        choice = b',"choices":[{"index":0,"delta":{},"logprobs":null,"finish_reason":'
        return self._head + choice + _encode(reason) + b"}]" + self._tail

    def usage(self, usage: Usage) -> bytes:
        return self._head + b',"choices":[],"usage":' + _encode(usage.as_openai()) + b"}\n\n"


def completion(model: str, text: str, reasoning: str, finish: str, usage: Usage) -> bytes:
    """A whole completion, as it answers a request without `stream`."""
    message: dict[str, Any] = {"role": "assistant", "content": text, "refusal": None}
    if reasoning:
        message["reasoning_content"] = reasoning
    return _encode(
        {
            "id": f"chatcmpl-{uuid.uuid4().hex}",
            "object": "chat.completion",
            "created": int(time.time()),
            "model": model,
            "choices": [
                {"index": 0, "message": message, "logprobs": None, "finish_reason": finish}
            ],
            "usage": usage.as_openai(),
            "system_fingerprint": None,
        }
    )


def error(
    message: str,
    kind: str = "invalid_request_error",
    param: str | None = None,
    code: str | None = None,
) -> bytes:
    """The body of an error; in a stream it is the payload of an event."""
    return _encode({"error": {"message": message, "type": kind, "param": param, "code": code}})


def event(payload: bytes) -> bytes:
    return b"data: " + payload + b"\n\n"


def pieces(text: str) -> list[str]:
    """The text as deltas: words, each with the space before it, so that no character is cut."""
    return re.findall(r"\s*\S+|\s+", text)


def prompt_tokens(request: Request) -> int:
    """A token here is a piece; the prompt counts every message."""
    return sum(len(pieces(message.text)) for message in request.messages)
