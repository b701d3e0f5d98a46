"""A person's conversations as the sidebar lists them: the pinned, then by their last day.

Each line carries its place, a string that sorts as the list does, newest greatest; days have one as
well. So a page puts a line that changed where it belongs, and asks for what comes after the last.
"""

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta

from django.db.models import Exists, OuterRef, Q, QuerySet
from django.utils import timezone
from django.utils.formats import date_format
from django.utils.translation import gettext as _

from chat.models import Conversation, Generation, User

PAGE = 40
# A page that has missed more than this is given the list anew.
MOST_CHANGES = 30
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
PLACE = re.compile(r"0([0-9]{16})([0-9]{12})")
FIRST, TOP = "2".ljust(29, "0"), "0".ljust(29, "9")


@dataclass
class Day:
    """A heading; all that stands under it has a place below its own."""

    label: str
    place: str


@dataclass
class Line:
    conversation: Conversation
    place: str
    day: Day


@dataclass
class Listing:
    """`older`: the place after which more follows, or ''."""

    lines: list[Line]
    older: str = ""


class NoPlace(ValueError):
    """Not what a line has for its place."""


def listing(user: User, before: str = "") -> Listing:
    """The first conversations, or those after a place; raises NoPlace."""
    listed = _listed(user)
    unpinned = listed.filter(pinned_at=None)
    pinned = [] if before else list(listed.exclude(pinned_at=None).order_by("-pinned_at", "-id"))
    if before:
        active_at, pk = _parse(before)
        after = Q(active_at__lt=active_at) | Q(active_at=active_at, id__lt=pk)
        unpinned = unpinned.filter(after, active_at__lte=active_at)
    found = list(unpinned[: PAGE + 1])
    lines = _lines([*pinned, *found[:PAGE]])
    return Listing(lines, older=lines[-1].place if len(found) > PAGE else "")


def changed(user: User, version: int) -> tuple[list[Line], list[Conversation]] | None:
    """The lines that changed since the user's version, and what was deleted; None: too many."""
    if not 0 <= version <= user.version:
        return None
    recent = user.conversations.filter(listed_version__gt=version).order_by("-listed_version")
    rows = list(_shown(recent)[: MOST_CHANGES + 1])
    if len(rows) > MOST_CHANGES:
        return None
    there = [row for row in rows if row.deleted_at is None]
    return _lines(there), [row for row in rows if row.deleted_at is not None]


def line_of(conversation: Conversation) -> list[Line]:
    """One line anew; none where the conversation is deleted."""
    return _lines(list(_shown(Conversation.objects.alive().filter(pk=conversation.pk))))


def _listed(user: User) -> "QuerySet[Conversation]":
    return _shown(user.conversations.listed())


def _shown(conversations: "QuerySet[Conversation]") -> "QuerySet[Conversation]":
    busy = Generation.under_way().filter(conversation=OuterRef("pk"))
    return conversations.annotate(is_running=Exists(busy)).only(
        *("uuid", "title", "active_at", "pinned_at", "deleted_at", "owner"),
        *("listed_version", "answered_version", "read_version"),
    )


def _lines(conversations: list[Conversation]) -> list[Line]:
    today = timezone.localdate()
    return [Line(c, _place_of(c), _day_of(c, today)) for c in conversations]


# --- places -------------------------------------------------------------------------------------


def _place(moment: datetime, pk: int = 0, rank: int = 0) -> str:
    return f"{rank}{(moment - EPOCH) // timedelta(microseconds=1):016d}{pk:012d}"


def _place_of(conversation: Conversation) -> str:
    if conversation.pinned_at is not None:
        return _place(conversation.pinned_at, conversation.pk, rank=1)
    return _place(conversation.active_at, conversation.pk)


def _parse(place: str) -> tuple[datetime, int]:
    match = PLACE.fullmatch(place)
    if match is None:
        raise NoPlace(place)
    return EPOCH + timedelta(microseconds=int(match[1])), int(match[2])


def _day_of(conversation: Conversation, today: date) -> Day:
    if conversation.pinned_at is not None:
        return Day(_("Pinned"), FIRST)
    day = timezone.localdate(conversation.active_at)
    if day >= today:
        return Day(_("Today"), TOP)
    if day == today - timedelta(days=1):
        return Day(_("Yesterday"), _midnight(today))
    week = today - timedelta(days=6)
    if day >= week:
        return Day(_("Previous 7 days"), _midnight(today - timedelta(days=1)))
    next_month = (day.replace(day=1) + timedelta(days=32)).replace(day=1)
    return Day(date_format(day, "F Y"), _midnight(min(next_month, week)))


def _midnight(day: date) -> str:
    """The place of where this day begins for the reader."""
    return _place(datetime.combine(day, time.min, timezone.get_current_timezone()))
