"""The part of a branch that a page holds: its end, or what stands around a message.

A page knows its part by the first message and the last one; None is where the branch begins or ends.
What lies outside comes by links to the same address, `?before=`, `?after=` and `?at=`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.db.models import Subquery
from django.http import HttpRequest

from chat.models import Conversation, Message
from chat.models.messages import MessageQuerySet
from chat.rendering.thread import shown

MESSAGES = 20
# What a page has loaded is sent anew when its branch changes, unless that is more than this.
MESSAGES_ANEW = 300
ABOVE = 4  # messages over the one that a link leads to


@dataclass(frozen=True)
class Span:
    """From one message to another, both included."""

    first: UUID | None = None
    last: UUID | None = None

    @classmethod
    def parse(cls, first: Any, last: Any) -> "Span":
        """Raises ValueError for anything but ids and nothing."""
        if not all(each is None or isinstance(each, str) for each in (first, last)):
            raise ValueError("a message is named by its id")
        return cls(UUID(first) if first else None, UUID(last) if last else None)

    def of(self, conversation: Conversation) -> MessageQuerySet:
        """The messages of the current branch within it; none where an end isn't on the branch."""
        rows = conversation.branch()
        if self.first is not None:
            rows = rows.filter(pk__gte=Subquery(_key(conversation, self.first)))
        if self.last is not None:
            rows = rows.filter(pk__lte=Subquery(_key(conversation, self.last)))
        return rows


WHOLE = Span()


@dataclass(frozen=True)
class Window:
    """Messages that follow each other on the current branch, and whether there are more."""

    conversation: Conversation
    rows: list[Message]
    has_earlier: bool = False
    has_later: bool = False

    @property
    def context(self) -> dict[str, Any]:
        """For `_thread.html` and `_edges.html`."""
        return {"window": self, "conversation": self.conversation, "thread": shown(self.rows)}

    @property
    def span(self) -> Span:
        return Span(self.earlier, self.later)

    @property
    def earlier(self) -> UUID | None:
        """The message before which there are more."""
        return self.rows[0].uuid if self.rows and self.has_earlier else None

    @property
    def later(self) -> UUID | None:
        """The message after which there are more."""
        return self.rows[-1].uuid if self.rows and self.has_later else None


def asked_for(query: Mapping[str, str], conversation: Conversation) -> Window | None:
    """What an address names after its `?`; None for nothing, and for what isn't on the branch."""
    for name, part in {"before": before, "after": after, "at": around}.items():
        if name in query:
            message = _id(query[name])
            return part(conversation, message) if message else None
    return None


def held(request: HttpRequest) -> Span:
    """What the page holds that sent this by htmx."""
    first, _, last = request.headers.get("Potok-Span", "").partition(",")
    return Span(_id(first), _id(last))


def newest(conversation: Conversation) -> Window:
    return _upwards(conversation, conversation.branch())


def before(conversation: Conversation, message: UUID) -> Window | None:
    """What comes right before a message; None where that isn't on the branch."""
    key = _key_on_branch(conversation, message)
    if key is None:
        return None
    window = _upwards(conversation, conversation.branch().filter(pk__lt=key))
    return Window(conversation, window.rows, window.has_earlier, has_later=True)


def after(conversation: Conversation, message: UUID) -> Window | None:
    key = _key_on_branch(conversation, message)
    if key is None:
        return None
    return _downwards(conversation, conversation.branch().filter(pk__gt=key), has_earlier=True)


def around(conversation: Conversation, message: UUID) -> Window | None:
    """A message with a little of what stands above it, and what follows."""
    key = _key_on_branch(conversation, message)
    if key is None:
        return None
    above = conversation.branch().filter(pk__lte=key).order_by("-pk").values_list("pk", flat=True)
    start, *more = list(above[: ABOVE + 2])[::-1]
    if len(more) > ABOVE:
        return _downwards(
            conversation, conversation.branch().filter(pk__gt=start), has_earlier=True
        )
    return _downwards(conversation, conversation.branch(), has_earlier=False)


def anew(conversation: Conversation, had: Span, message: UUID | None = None) -> Window:
    """What a page shall hold that had this span of a branch which has become another one.

    The same span where it still is one; else what stands around `message`, else the newest.
    """
    ends = {each for each in (had.first, had.last) if each is not None}
    on_branch = conversation.branch().filter(uuid__in=ends).count()
    if on_branch == len(ends):
        found = _first(conversation, had.of(conversation), MESSAGES_ANEW + 1)
        if len(found) <= MESSAGES_ANEW:
            return Window(conversation, found, had.first is not None, had.last is not None)
    around_it = around(conversation, message) if message else None
    return around_it or newest(conversation)


def _upwards(conversation: Conversation, branch: MessageQuerySet) -> Window:
    """The last messages of these."""
    found = _first(conversation, branch.order_by("-pk"), MESSAGES + 1)[::-1]
    return Window(conversation, found[-MESSAGES:], has_earlier=len(found) > MESSAGES)


def _downwards(conversation: Conversation, branch: MessageQuerySet, *, has_earlier: bool) -> Window:
    found = _first(conversation, branch, MESSAGES + 1)
    return Window(conversation, found[:MESSAGES], has_earlier, len(found) > MESSAGES)


def _first(conversation: Conversation, rows: MessageQuerySet, count: int) -> list[Message]:
    found = list(rows.for_display()[:count])
    for message in found:
        message.conversation = conversation
    return found


def _id(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None


def _key(conversation: Conversation, message: UUID) -> Any:
    return conversation.messages.filter(uuid=message).values("pk")


def _key_on_branch(conversation: Conversation, message: UUID) -> int | None:
    return conversation.branch().filter(uuid=message).values_list("pk", flat=True).first()
