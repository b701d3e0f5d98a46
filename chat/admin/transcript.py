"""A conversation as its owner saw it, with every branch, and with each message's calls."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any
from uuid import UUID

from django.core.paginator import Paginator
from django.urls import reverse
from django.utils.translation import gettext as _

from chat.models import Conversation, Feedback, Generation, Message
from chat.rendering.thread import Shown, shown

from .calls import CallShown, seconds
from .figures import Total
from .scores import OfReply, Scores

MESSAGES_A_PAGE = 100
PROBLEMS_LISTED = 20
ENDED_BADLY = (Message.Status.FAILED, Message.Status.INTERRUPTED)


@dataclass
class Version:
    number: int
    href: str
    is_here: bool


@dataclass
class Entry:
    """A message among its calls. `forks_from` leads to what a branch that begins here follows."""

    m: Shown
    row: Message
    calls: list[CallShown]
    versions: list[Version]
    begins_branch: bool
    forks_from: str
    scores: OfReply
    href: str

    @property
    def times(self) -> list[tuple[str, str]]:
        """When its latest attempt was taken up, began to answer and ended, after it was asked for."""
        generation: Generation | None = self.row.generation
        if generation is None:
            return []
        since = generation.queued_at
        moments = [
            (_("waited"), generation.claimed_at),
            (_("first words after"), generation.first_delta_at),
            (_("ended after"), generation.ended_at),
        ]
        return [(name, told) for name, at in moments if (told := seconds(since, at))]


def of(
    conversation: Conversation, page: str, *, with_deleted: bool, scores: Scores
) -> dict[str, Any]:
    """The template's context: one page of entries, and what the whole adds up to."""
    tree = Tree(conversation, with_deleted=with_deleted)
    here = Paginator(tree.order, MESSAGES_A_PAGE).get_page(page)
    tree.here = here.number
    rows = conversation.messages.filter(pk__in=here.object_list).for_display()
    rows = rows.prefetch_related("calls__price", "revisions", "scores__reviewer")
    entries = {m.row.pk: tree.entry(m, scores) for m in shown(rows, is_read_only=True)}
    problems = [pk for pk in tree.order if tree.nodes[pk].is_problem]
    return {
        # A message may have been erased since the tree was read.
        "entries": [entries[pk] for pk in here.object_list if pk in entries],
        "page": here,
        "message_count": len(tree.order),
        "problem_count": len(problems),
        "problems": [tree.problem(pk) for pk in problems[:PROBLEMS_LISTED]],
        "total": _total(conversation),
    }


def _total(conversation: Conversation) -> Total:
    """As the list of conversations has it."""
    found = Total()
    for tally in conversation.tallies.filter(calls__gt=0):
        found.add_tally(tally)
    return found


@dataclass
class Node:
    pk: int
    uuid: UUID
    parent: int | None
    current: bool
    status: str
    error_kind: str | None
    rating: int | None

    @property
    def is_problem(self) -> bool:
        return self.status in ENDED_BADLY or self.rating == Feedback.Rating.DOWN


class Tree:
    """All messages of a conversation, without their text: the current branch, then the others."""

    here = 1  # the page that is shown

    def __init__(self, conversation: Conversation, *, with_deleted: bool) -> None:
        self.conversation_href = reverse("admin:chat_conversation_change", args=[conversation.pk])
        messages = conversation.messages.order_by("id")
        rows = (messages if with_deleted else messages.filter(deleted_at=None)).values_list(
            *("id", "uuid", "parent_id", "current", "status"),
            *("generation__error_kind", "feedback__rating"),
        )
        self.nodes = {row[0]: Node(*row) for row in rows}
        self.children: dict[int | None, list[int]] = {}
        for node in self.nodes.values():
            self.children.setdefault(node.parent, []).append(node.pk)

    @cached_property
    def order(self) -> list[int]:
        current = [node.pk for node in self.nodes.values() if node.current]
        return [*current, *self._others()]

    def _others(self) -> Iterator[int]:
        """Depth first, so that each branch stays together; iterative, as a branch may be very long."""
        todo = [pk for pk in reversed(self.nodes) if self._is_fork(self.nodes[pk])]
        while todo:
            pk = todo.pop()
            yield pk
            todo += reversed(self.children.get(pk, []))

    def _is_fork(self, node: Node) -> bool:
        return not node.current and (node.parent is None or self.nodes[node.parent].current)

    @cached_property
    def _places(self) -> dict[int, int]:
        return {pk: place for place, pk in enumerate(self.order)}

    def page_of(self, pk: int) -> int:
        return self._places[pk] // MESSAGES_A_PAGE + 1

    def href(self, pk: int) -> str:
        """From the page that is shown. On it nothing is loaded again, nor noted as read again."""
        page = self.page_of(pk)
        return f"{f'?p={page}' if page != self.here else ''}#m-{self.nodes[pk].uuid}"

    def problem(self, pk: int) -> dict[str, str]:
        node = self.nodes[pk]
        if node.status in ENDED_BADLY:
            label = str(Message.Status(node.status).label)
            label = f"{label}: {node.error_kind}" if node.error_kind else label
        else:
            label = str(Feedback.Rating.DOWN.label)
        return {"href": self.href(pk), "label": label}

    def entry(self, m: Shown, scores: Scores) -> Entry:
        node = self.nodes[m.row.pk]
        place = self._places[node.pk]
        follows = self.order[place - 1] if place else None
        siblings = self.children[node.parent]
        versions = [
            Version(number, self.href(pk), pk == node.pk) for number, pk in enumerate(siblings, 1)
        ]
        # The reader's own way to other versions is a command on the conversation; here it is links.
        m.versions, m.prev, m.next = 1, None, None
        return Entry(
            m,
            m.row,
            [CallShown(call) for call in m.row.calls.all()],
            versions if len(versions) > 1 else [],
            begins_branch=not node.current and follows != node.parent,
            forks_from=self.href(node.parent) if node.parent else "",
            scores=scores.of(m.row),
            href=f"{self.conversation_href}?p={self.page_of(node.pk)}#m-{node.uuid}",
        )
