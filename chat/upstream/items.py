"""What a stream says, one small value each. No I/O."""

from typing import Literal

import msgspec

from chat.upstream.errors import GatewayError
from chat.upstream.usage import Usage

Eof = Literal["clean", "finish-only", "cut", "error"]


class Delta(msgspec.Struct, frozen=True, gc=False):
    """Text to append, cleaned; at least one of the two is not empty."""

    text: str = ""
    reasoning: str = ""


class Finish(msgspec.Struct, frozen=True, gc=False):
    """Why the model stopped, in the gateway's word: stop, length, content_filter, ..."""

    reason: str


class Failure(msgspec.Struct, frozen=True):
    """The reply is not complete; the last item, after all that could be had, before End."""

    error: GatewayError


class Image(msgspec.Struct, frozen=True, gc=False):
    """An image that the model made: a data: or an https: URL."""

    url: str


class Link(msgspec.Struct, frozen=True, gc=False):
    """A source that the reply names, http(s) only; each is given once."""

    url: str
    title: str = ""


class ToolCalls(msgspec.Struct, frozen=True, gc=False):
    """The model asks for tools, which nobody here runs; given once."""


Item = Delta | Usage | Finish | Failure | Image | Link | ToolCalls


class End(msgspec.Struct, frozen=True):
    """How a stream ended. `error` is None exactly where the reply is complete.

    eof: clean ([DONE] came) | finish-only (a finish word, then the end) | cut | error.
    """

    eof: Eof
    finish_reason: str | None
    done: bool
    error: GatewayError | None
    text_seen: bool
    reasoning_seen: bool
