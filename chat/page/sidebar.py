"""A person's conversations, newest first, under the days of their last activity."""

from dataclasses import dataclass
from datetime import date, timedelta

from django.db.models import Exists, OuterRef
from django.utils import timezone
from django.utils.formats import date_format
from django.utils.translation import gettext as _

from chat.models import Conversation, Generation, Message, User

SHOWN = 200


@dataclass
class Group:
    label: str
    conversations: list[Conversation]


def sidebar(user: User) -> list[Group]:
    """In two queries at most, however many there are."""
    busy = Generation.objects.filter(
        conversation=OuterRef("pk"), status__in=[Message.Status.QUEUED, Message.Status.STREAMING]
    )
    listed = user.conversations.listed().annotate(is_running=Exists(busy))
    groups: list[Group] = []
    today = timezone.localdate()
    for conversation in listed.only("uuid", "title", "active_at", "owner")[:SHOWN]:
        label = _label(timezone.localdate(conversation.active_at), today)
        if not groups or groups[-1].label != label:
            groups.append(Group(label, []))
        groups[-1].conversations.append(conversation)
    return groups


def _label(day: date, today: date) -> str:
    if day >= today:
        return _("Today")
    if day == today - timedelta(days=1):
        return _("Yesterday")
    if day > today - timedelta(days=7):
        return _("Previous 7 days")
    return date_format(day, "F Y")
