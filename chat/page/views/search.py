"""A person's own conversations by the words in them."""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from chat.models import Conversation, Message
from chat.models.search import Hit, TooSlow
from chat.models.search import search as find
from chat.rendering.clean import clean_user
from chat.rendering.hidden import revealed
from chat.rendering.words import QUERY_CHARS, Piece

from ..access import member_only

HITS_A_PAGE = 30
MAX_KEY = 2**63 - 1


@dataclass
class Passage:
    message: Message
    snippet: list[Piece]


@dataclass
class Found:
    """A conversation, its title with what was found in it apart, and where else it was found."""

    conversation: Conversation
    title: list[Piece]
    passages: list[Passage] = field(default_factory=list)


@member_only
@require_safe
def search(request: HttpRequest) -> HttpResponse:
    """`?q=`: all words must be in one message or in a title; `before` goes on from a message."""
    query = clean_user(request.GET.get("q", ""))[:QUERY_CHARS].strip()
    before = _key(request.GET.get("before", ""))
    context: dict[str, Any] = {"query": query, "max_chars": QUERY_CHARS}
    try:
        hits = find(query, request.user.pk, before, HITS_A_PAGE)
    except TooSlow:
        context["is_too_slow"] = True
    else:
        messages = [hit.message for hit in hits if hit.message]
        context["found"] = _by_conversation(hits)
        context["before"] = messages[-1] if len(messages) == HITS_A_PAGE else None
    return render(request, "search.html", context)


def _by_conversation(hits: Iterable[Hit]) -> list[Found]:
    """The conversations in the order of their first hit."""
    hits = list(hits)
    conversations = Conversation.objects.in_bulk({hit.conversation for hit in hits})
    messages = Message.objects.defer("text", "reasoning").in_bulk(
        [hit.message for hit in hits if hit.message]
    )
    found: dict[int, Found] = {}
    for hit in hits:
        conversation = conversations.get(hit.conversation)
        if conversation is None:
            continue
        here = found.setdefault(
            hit.conversation, Found(conversation, [Piece(conversation.shown_title)])
        )
        if hit.message is None:
            here.title = [replace(piece, text=revealed(piece.text)) for piece in hit.snippet]
        elif message := messages.get(hit.message):
            here.passages.append(Passage(message, hit.snippet))
    return list(found.values())


def _key(text: str) -> int | None:
    """A message's key in an address; none for what can't be one."""
    if not (text.isascii() and text.isdigit()):
        return None
    return min(int(text[:19]), MAX_KEY)
