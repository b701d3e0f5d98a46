"""Taking away for good what people wrote: whole conversations, or the words of single messages.

Whoever calls this has seen to it that nothing of it is held. Calls stay, without a gateway's words.
"""

from collections import Counter
from collections.abc import Iterable

from django.db.models import QuerySet
from django.utils import timezone

from . import search
from .calls import Call
from .conversations import Conversation
from .feedback import Feedback, Score
from .generations import Generation
from .messages import Message
from .pictures import Picture
from .revisions import Revision

# As many conversations go in one transaction; other writers wait for it.
BATCH = 20
MESSAGE_BATCH = 500


def remove(conversations: Iterable[int]) -> Counter[str]:
    """Remove these conversations with all that hangs on them; how many rows of each table went.

    In the caller's transaction. Usage stays in the calls, which then belong to no message.
    """
    pks = list(conversations)
    Conversation.keep_from_others(pks)
    # Before the rows go, so that whoever runs a reply hears of it at the commit.
    Generation.stop_all(Generation.objects.filter(conversation__in=pks))
    messages = Message.objects.filter(conversation__in=pks)
    _forget_errors(messages)
    Call.objects.filter(conversation__in=pks).exclude(error_message="").update(error_message="")
    # Else Django would walk down each branch a message at a time, and no further than Python recurses.
    messages.update(parent=None, chosen=None)
    _total, tables = Conversation.objects.filter(pk__in=pks).delete()
    return Counter(tables)


def blank(messages: QuerySet[Message]) -> int:
    """Take the words from messages that their owner deleted; the tree and its sums stand on them."""
    pks = list(messages.values_list("pk", flat=True)[:MESSAGE_BATCH])
    rows = Message.objects.filter(pk__in=pks)
    _forget_errors(rows)
    for model in (Revision, Picture, Feedback, Score):
        model.objects.filter(message__in=pks).delete()
    search.put_messages(pks)
    return rows.update(text="", reasoning="", links=[], purged_at=timezone.now())


def _forget_errors(messages: QuerySet[Message]) -> None:
    """A gateway's own words may quote what was asked."""
    Call.objects.filter(message__in=messages.values("pk")).exclude(error_message="").update(
        error_message=""
    )
    Generation.objects.filter(message__in=messages.values("pk")).exclude(error_message="").update(
        error_message=""
    )
