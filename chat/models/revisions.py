"""A reply whose words a person changed, and a conversation that goes on elsewhere from a message."""

import re
from itertools import pairwise

from django.db import models, transaction
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from . import search
from .conversations import Conflict, Conversation
from .messages import Message
from .pictures import Picture

BATCH = 500


class Revision(models.Model):
    """What a reply said before a person changed it; the first of a reply is the model's own."""

    message = models.ForeignKey(Message, models.CASCADE, related_name="revisions")
    text = models.TextField(_("text"), blank=True)
    created_at = models.DateTimeField(_("changed"), default=timezone.now)

    class Meta:
        ordering = ["id"]
        verbose_name = _("earlier text")
        verbose_name_plural = _("earlier texts")

    def __str__(self) -> str:
        return f"{self.message_id} until {self.created_at:%Y-%m-%d %H:%M:%S}"

    @classmethod
    @transaction.atomic
    def rewrite(cls, message: Message, text: str) -> Message:
        """Give an ended reply other words, which go with the next question; its usage stays.

        Raises Conflict for a question, and for a reply that is open.
        """
        message.lock()
        if not message.is_reply or message.is_open:
            raise Conflict
        if text != message.text:
            cls.objects.create(message=message, text=message.text)
            message.text, message.edited_at = text, timezone.now()
            message.version = message.conversation.bump()
            message.save(update_fields=["text", "edited_at", "version"])
            search.put_messages([message.pk])
        return message


@transaction.atomic
def fork(message: Message) -> Message:
    """A conversation of its own that goes on from here: the copy of the message, the last of it.

    What it copies was paid for where it was asked, so the copies have no calls. Raises Conflict
    while a reply on the way is open.
    """
    message.lock()
    found = message.conversation
    way = found.way_to(message)
    if any(each.is_open for each in way):
        raise Conflict
    conversation = Conversation.objects.create(
        owner=found.owner,
        title=_numbered(found.title),
        title_source=found.title_source,
        system_prompt=found.system_prompt,
        parameters=found.parameters,
        forked_from=message,
    )
    copies = _copies(way, conversation, conversation.bump(sidebar=True))
    conversation.leaf = copies[-1]
    conversation.save(update_fields=["leaf"])
    search.put_titles([conversation.pk])
    search.put_messages([copy.pk for copy in copies])
    return copies[-1]


def _numbered(title: str) -> str:
    """`Ice` becomes `Ice (2)` and that `Ice (3)`: in a list the two are told apart."""
    first = re.fullmatch(r"(.*) \((\d{1,2})\)", title, re.DOTALL)
    words, number = (first[1], int(first[2]) + 1) if first else (title, 2)
    ending = f" ({number})"
    return f"{words[: 200 - len(ending)]}{ending}"


def _copies(way: list[Message], conversation: Conversation, version: int) -> list[Message]:
    names = ("role", "text", "reasoning", "status", "model", "gateway_id", "links")
    copies = Message.objects.bulk_create(
        [
            Message(
                conversation=conversation,
                version=version,
                **{name: getattr(each, name) for name in (*names, "created_at", "edited_at")},
            )
            for each in way
        ],
        BATCH,
    )
    for parent, child in pairwise(copies):
        parent.chosen, child.parent = child, parent
    Message.objects.bulk_update(copies, ["parent", "chosen"], BATCH)
    of_original = {each.pk: copy for each, copy in zip(way, copies, strict=True)}
    for picture in Picture.objects.filter(message__in=way):
        picture.pk, picture.message = None, of_original[picture.message_id]
        picture.save(force_insert=True)
    return copies
