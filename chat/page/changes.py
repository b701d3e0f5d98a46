"""What changed for a page since it was rendered, as ops; by the templates that rendered the page."""

from collections.abc import Container
from copy import copy
from dataclasses import dataclass, field, replace
from typing import Any, Self, TypeVar
from uuid import UUID

from django.conf import settings
from django.db.models import Q
from django.template.loader import render_to_string
from django.utils import timezone, translation

from chat.models import Conversation, Generation, Message, User
from chat.models.people import time_zones
from chat.rendering import usage
from chat.rendering.thread import Shown, shown

from . import limits, window
from .live import Op, Position
from .sidebar import changed, listing

T = TypeVar("T")


@dataclass(frozen=True)
class Page:
    """What a page says that it shows: versions as they were when it was rendered.

    span: the part of the conversation that it holds.
    language, time_zone: as it is written; no zone is the installation's.
    cursors: what it has of running replies, by message: (generation, reasoning length, text length).
    is_followed: whether its socket follows the replies that ran at this version.
    """

    conversation: UUID | None = None
    span: window.Span = window.WHOLE
    version: int = 0
    sidebar_version: int = -1
    language: str = "en"
    time_zone: str | None = None
    cursors: dict[str, tuple[int, int, int]] = field(default_factory=dict)
    is_followed: bool = False

    @classmethod
    def parse(cls, wanted: Any, language: str) -> Self:
        """From a watch frame; raises ValueError for anything else. `language`: if it names none."""
        if not isinstance(wanted, dict):
            raise ValueError("watch takes an object")
        conversation, version = wanted.get("conversation"), wanted.get("version", 0)
        if conversation is not None and not isinstance(conversation, str):
            raise ValueError("conversation is an id")
        sidebar_version = wanted.get("sidebar", 0)
        if not (_is_count(version) and _is_count(sidebar_version)):
            raise ValueError("a version is a number")
        cursors = wanted.get("cursors", {})
        if not isinstance(cursors, dict) or len(cursors) > 100:
            raise ValueError("cursors is an object")
        return cls(
            conversation=UUID(conversation) if conversation else None,
            span=window.Span.parse(wanted.get("first"), wanted.get("last")),
            version=version,
            sidebar_version=sidebar_version,
            language=_one_of(dict(settings.LANGUAGES), wanted.get("language")) or language,
            time_zone=_one_of(time_zones(), wanted.get("zone")),
            cursors={key: _cursor(value) for key, value in cursors.items()},
        )

    def position_of(self, message: Message) -> Position:
        generation, reasoning, text = self.cursors.get(str(message.uuid), (0, 0, 0))
        if generation != message.generation_id:
            return Position()
        return Position(-1, reasoning, text)


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**63


def _one_of(known: Container[str], value: Any) -> str | None:
    return value if isinstance(value, str) and value in known else None


def _cursor(value: Any) -> tuple[int, int, int]:
    if not (isinstance(value, list) and len(value) == 3 and all(map(_is_count, value))):
        raise ValueError("a cursor is three numbers")
    return value[0], value[1], value[2]


@dataclass(frozen=True)
class Followed:
    """How a reply stands that the socket follows."""

    note: str
    saved: bool
    is_done: bool
    is_broken: bool


@dataclass(frozen=True)
class Found:
    """`afresh`: the messages that the ops bring whole, with the text that their row had.

    `is_all`: the ops bring all messages of the page, and any other is no longer there.
    `is_part`: what stands beside the conversation changed as well, see `beside`.
    """

    ops: list[Op]
    page: Page
    running: list[Shown]
    afresh: frozenset[str] = frozenset()
    is_all: bool = False
    is_part: bool = False


def behind(pages: dict[T, tuple[int, Page]]) -> list[T]:
    """Whose page, beside its user's id, is not of the latest version; in two queries for all."""
    users = User.objects.filter(pk__in={user for user, _ in pages.values()})
    ids = {page.conversation for _, page in pages.values()}
    conversations = Conversation.objects.alive().filter(uuid__in=ids - {None})
    sidebars = dict(users.values_list("pk", "version"))
    versions = dict(conversations.values_list("uuid", "version"))
    return [
        whose
        for whose, (user, page) in pages.items()
        if sidebars.get(user) != page.sidebar_version
        or (page.conversation and versions.get(page.conversation) != page.version)
    ]


def since(user_id: int, page: Page, following: dict[str, Followed]) -> Found | None:
    """The ops that bring the page up to date, and the running replies; None where it is gone.

    Of the conversation alone: words wait for it, and for nothing that stands beside it.
    """
    user = User.objects.get(pk=user_id)
    conversation = None
    if page.conversation is not None:
        conversation = user.conversations.alive().filter(uuid=page.conversation).first()
        if conversation is None:
            return None
    with translation.override(page.language), timezone.override(page.time_zone):
        if conversation is None or _has_all(page, conversation, following):
            found = Found([], page, [])
        else:
            found = _in_conversation(conversation, page, following)
    return replace(found, is_part=page.sidebar_version != user.version)


def beside(user_id: int, page: Page) -> Found:
    """The ops for what stands beside the conversation: the sidebar, and limits that are near."""
    user = User.objects.get(pk=user_id)
    conversation = user.conversations.alive().filter(uuid=page.conversation).first()
    with translation.override(page.language), timezone.override(page.time_zone):
        ops = [_sidebar_op(user, page, conversation)]
        near = limits.near(user)
        # What runs holds what it may cost, which would be told as if it were used.
        if not (near and Generation.under_way().filter(user=user).exists()):
            ops.append(["limits", _render("_limits.html", {"limits": near})])
    return Found(ops, replace(page, sidebar_version=user.version), [])


def _has_all(page: Page, conversation: Conversation, following: dict[str, Followed]) -> bool:
    """A person's tabs all hear of whatever changes in one: most have nothing to be told."""
    is_over = any(followed.is_done or followed.is_broken for followed in following.values())
    return page.is_followed and page.version == conversation.version and not is_over


def _sidebar_op(user: User, page: Page, conversation: Conversation | None) -> Op:
    """The lines that changed; for a page that missed many, the list anew."""
    news = changed(user, page.sidebar_version)
    if news is None:
        context = {"sidebar": listing(user), "user": user, "conversation": conversation}
        return ["sidebar", user.version, _render("_sidebar.html", context)]
    lines, gone = news
    html = _render("_lines.html", {"lines": lines, "gone": gone})
    return ["listed", user.version, html]


def _in_conversation(
    conversation: Conversation, page: Page, following: dict[str, Followed]
) -> Found:
    ops: list[Op] = []
    version = conversation.version
    is_all = conversation.branch_version > page.version
    if is_all:
        part = window.anew(conversation, page.span)
        context = part.context
        changed, page = context["thread"], replace(page, span=part.span)
        afresh = frozenset(str(m.uuid) for m in changed)
        ops.append(["thread", conversation.version, _render("_part.html", context)])
    else:
        branch = page.span.of(conversation).for_display().select_related("conversation", "parent")
        new = Q(version__gt=page.version)
        live = Q(status=Message.Status.STREAMING) | Q(uuid__in=list(following))
        changed = shown(branch.filter(new | live))
        for m in changed:
            ops += _ops_of(m, page, following.get(str(m.uuid)))
        afresh = frozenset(op[1] for op in ops if op[0] == "article")
        if any(_is_unfinished(m, following.get(str(m.uuid))) for m in changed):
            # A page that reconnects with a version gets nothing older than that any more.
            version = page.version
    if version != page.version:
        context = {"total": usage.of_conversation(conversation)}
        ops.append(["total", version, _render("_total.html", context)])
        ops.append(["title", version, conversation.shown_title])
    running = [m for m in changed if m.status == Message.Status.STREAMING]
    page = replace(page, version=version, is_followed=True)
    return Found(ops, page, running, afresh, is_all)


def _is_unfinished(m: Message | Shown, followed: Followed | None) -> bool:
    """The row has ended, and its last words are still on their way to the page."""
    return followed is not None and not m.is_open and not followed.is_done


def _ops_of(m: Shown, page: Page, followed: Followed | None) -> list[Op]:
    """A followed reply keeps its blocks, and only what surrounds them is brought up to date."""
    # What was streamed isn't what a person has made of it since.
    is_another = followed is not None and (followed.is_broken or m.row.edited_at is not None)
    if followed is None or (followed.is_done and is_another):
        if followed is None and m.version <= page.version:
            return []
        before = str(m.row.parent.uuid) if m.row.parent else None
        return [["article", str(m.uuid), m.version, before, _render("_message.html", {"m": m})]]
    if _is_unfinished(m, followed):
        return []
    return [_shell(m, followed)]


def around(m: Shown, page: Page, followed: Followed) -> Op:
    """What surrounds the text of a running reply, as it stands; without a query."""
    with translation.override(page.language), timezone.override(page.time_zone):
        return _shell(m, followed)


def without_text(m: Shown) -> Shown:
    """What of a message is kept for `around`: no socket holds a text of its own."""
    row = copy(m.row)
    row.text, row.reasoning = row.text[:1], row.reasoning[:1]
    m = replace(m, row=row)
    m.body, m.reasoning = [], []
    return m


def _shell(m: Shown, followed: Followed) -> Op:
    m = replace(m, note=followed.note, saved=followed.saved, is_shell=True)
    m.body, m.reasoning = [], []
    return ["shell", str(m.uuid), m.version, _render("_message.html", {"m": m})]


def _render(template: str, context: dict[str, Any]) -> str:
    return render_to_string(template, context).strip()
