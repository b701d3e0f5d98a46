"""Messages as templates need them: the page, the answer to a POST, the socket and the admin alike."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from urllib.parse import urlsplit
from uuid import UUID

from django.db.models import Q
from django.db.models.functions import Coalesce
from django.template.defaultfilters import filesizeformat
from django.urls import reverse
from django.utils.safestring import SafeString, mark_safe
from django.utils.translation import gettext as _

from chat.models import Call, Message, Picture

from . import errors, markdown, usage
from .hidden import revealed


@dataclass
class Shown:
    """A message as a template sees it. `position` of `versions` is its place among its siblings."""

    row: Message
    position: int = 1
    versions: int = 1
    prev: UUID | None = None
    next: UUID | None = None
    is_read_only: bool = False  # for staff, in the administration
    saved: bool = True
    note: str = ""
    is_shell: bool = False  # without the blocks, which its reader has

    @property
    def uuid(self) -> UUID:
        return self.row.uuid

    @property
    def role(self) -> str:
        return self.row.role

    @property
    def status(self) -> str:
        return self.row.status

    @property
    def version(self) -> int:
        return self.row.version

    @property
    def text(self) -> str:
        return self.row.text

    @property
    def model(self) -> str:
        return self.row.model

    @property
    def gateway(self) -> str:
        return self.row.gateway.name if self.row.gateway else ""

    @cached_property
    def body(self) -> list[SafeString]:
        if not self.row.is_reply:
            return []
        return _blocks(self.row.text, is_growing=self.is_open, is_cut=self.row.is_cut)

    @cached_property
    def reasoning(self) -> list[SafeString]:
        is_cut = self.row.is_cut and not self.row.text
        return _blocks(self.row.reasoning, is_growing=self.is_open, is_cut=is_cut)

    @property
    def links(self) -> list[dict[str, str]]:
        """Sources and images beside the text: {"url", "host", "title"}; no host is Potok itself."""
        found = [link for link in self.row.links if _is_web(link.get("url", ""))]
        return [
            {
                "url": link["url"],
                "host": urlsplit(link["url"]).netloc,
                "title": revealed(link.get("title", "")),
            }
            for link in found
        ] + [
            {
                "url": self._address_of(picture),
                "host": "",
                "title": _name(n, picture),
            }
            for n, picture in enumerate(self.row.pictures.all(), 1)
        ]

    def _address_of(self, picture: Picture) -> str:
        if self.is_read_only:
            place = [self.row.conversation_id, picture.pk]
            return reverse("admin:chat_conversation_picture", args=place)
        return reverse("picture", args=[self.uuid, picture.pk])

    @cached_property
    def usage(self) -> usage.Usage | None:
        return usage.of_calls(self.row.calls.all()) if self.row.is_reply else None

    @cached_property
    def error(self) -> errors.Told | None:
        if self.is_open or self.row.generation is None:
            return None
        return errors.told(self.row.generation)

    @property
    def notice(self) -> str:
        """'length' or 'content_filter' for a reply that the gateway cut short."""
        if self.status != "complete" or self.row.generation is None:
            return ""
        reason = self.row.generation.finish_reason
        return reason if reason in ("length", "content_filter") else ""

    @property
    def finish_reason(self) -> str:
        return self.row.generation.finish_reason if self.row.generation else ""

    @property
    def ending(self) -> str:
        """Why it ended, in a few words; the gateway's own where there are no better ones."""
        if self.status != "complete":
            return str(self.row.get_status_display())
        reasons = {
            "": _("finished by itself"),
            "stop": _("finished by itself"),
            "length": _("cut at the length limit"),
            "content_filter": _("cut by the content filter"),
        }
        return str(reasons.get(self.finish_reason, self.finish_reason))

    @property
    def since_ms(self) -> int | None:
        """When it was asked for or taken up, in milliseconds since 1970."""
        generation = self.row.generation
        if generation is None:
            return None
        return round((generation.claimed_at or generation.queued_at).timestamp() * 1000)

    @property
    def seconds_to_first(self) -> float | None:
        call = self._last_call
        if call is None or call.first_delta_at is None:
            return None
        return (call.first_delta_at - call.started_at).total_seconds()

    @cached_property
    def thought_s(self) -> int | None:
        """Seconds from its being taken up to its first word, or to its end without one."""
        generation = self.row.generation
        if not self.row.reasoning or generation is None or generation.base_reasoning:
            return None
        return generation.thought_s

    @property
    def tokens_per_s(self) -> float | None:
        call = self._last_call
        if call is None or not (call.first_delta_at and call.ended_at and call.completion_tokens):
            return None
        seconds = (call.ended_at - call.first_delta_at).total_seconds()
        return call.completion_tokens / seconds if seconds > 0.05 else None

    @property
    def _last_call(self) -> Call | None:
        calls = list(self.row.calls.all())
        return calls[-1] if calls else None

    @property
    def is_open(self) -> bool:
        return self.row.is_open

    @property
    def is_held(self) -> bool:
        return self.row.is_held

    @property
    def can_go_now(self) -> bool:
        return self.row.can_go_now

    @cached_property
    def places_ahead(self) -> int:
        if self.status != "queued" or self.row.generation is None:
            return 0
        return self.row.generation.places_ahead

    @property
    def can_stop(self) -> bool:
        return self.is_open and not self.is_read_only

    @property
    def can_retry(self) -> bool:
        return self.row.can_retry and not self.is_read_only

    @property
    def can_continue(self) -> bool:
        is_last = self.row.pk == self.row.conversation.leaf_id
        return is_last and self.row.can_continue and not self.is_read_only

    @property
    def can_regenerate(self) -> bool:
        ended = self.row.is_reply and self.status == "complete"
        return ended and not self.is_read_only

    @property
    def can_ask_another(self) -> bool:
        """By another model: of a failed reply there may be nothing better to do."""
        return self.row.is_reply and not self.is_open and not self.is_read_only

    @property
    def can_rate(self) -> bool:
        return self.row.is_reply and bool(self.text) and not self.is_open and not self.is_read_only

    @property
    def rating(self) -> int:
        """The reader's: 1, -1, or 0 for none."""
        feedback = getattr(self.row, "feedback", None)
        return feedback.rating if feedback else 0

    @property
    def comment(self) -> str:
        feedback = getattr(self.row, "feedback", None)
        return feedback.comment if feedback else ""

    @property
    def can_edit(self) -> bool:
        return not (self.row.is_reply and (self.is_open or not self.text)) and not self.is_read_only

    @property
    def can_fork(self) -> bool:
        return self.row.is_reply and not self.is_open and not self.is_read_only

    @property
    def is_edited(self) -> bool:
        return self.row.edited_at is not None

    @property
    def can_delete(self) -> bool:
        return not self.is_open and not self.is_read_only

    @property
    def can_copy(self) -> bool:
        return bool(self.text) and not self.is_open and not self.is_read_only


def shown(messages: Iterable[Message], *, is_read_only: bool = False) -> list[Shown]:
    """Messages of one conversation, fetched `for_display`, ready for `_message.html`."""
    rows = list(messages)
    turns = _turns(rows)
    found = []
    for row in rows:
        siblings = turns.get(row.parent_id, [])
        place = next((i for i, (pk, _uuid) in enumerate(siblings) if pk == row.pk), 0)
        found.append(
            Shown(
                row,
                position=place + 1,
                versions=max(len(siblings), 1),
                prev=siblings[place - 1][1] if place else None,
                next=siblings[place + 1][1] if place + 1 < len(siblings) else None,
                is_read_only=is_read_only,
            )
        )
    return found


def _turns(rows: Sequence[Message]) -> dict[int | None, list[tuple[int, UUID]]]:
    """All siblings of these messages by their parent, in one query."""
    turns: dict[int | None, list[tuple[int, UUID]]] = {}
    if not rows:
        return turns
    parents = [row.parent_id for row in rows if row.parent_id]
    beside = Q(parent__in=parents)
    if len(parents) < len(rows):
        # Not as NULL: SQLite would walk through the first messages of all conversations.
        beside |= Q(above=0, conversation=rows[0].conversation_id)
    siblings = Message.objects.alias(above=Coalesce("parent", 0)).filter(beside, deleted_at=None)
    # Sorted here: asked for by key, SQLite would read all messages there are in that order.
    found = siblings.order_by().values_list("id", "uuid", "parent_id")
    for pk, uuid, parent in sorted(found):
        turns.setdefault(parent, []).append((pk, uuid))
    return turns


def _blocks(text: str, *, is_growing: bool, is_cut: bool) -> list[SafeString]:
    if not text:
        return []
    if is_growing:
        growing = markdown.Growing()
        growing.grow(text)
        return [safe(block.html) for block in growing.blocks]
    return [safe(block.html) for block in markdown.render(text, is_cut=is_cut)]


def safe(html: str) -> SafeString:
    """The one place where rendered Markdown is called safe: it has been through the sanitiser."""
    return mark_safe(html)  # noqa: S308


def _name(n: int, picture: Picture) -> str:
    facts = {"n": n, "kind": picture.kind, "size": filesizeformat(picture.size_bytes)}
    if not picture.kind:
        return _("File %(n)d, %(size)s: no image that can be shown") % facts
    return _("Image %(n)d, %(kind)s, %(size)s") % facts


def _is_web(url: str) -> bool:
    return url.startswith(("https://", "http://"))
