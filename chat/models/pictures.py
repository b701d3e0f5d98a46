"""Images that a model made, kept; nothing is loaded from elsewhere to show them.

One is kept as it came until it is first asked for. Then it is drawn anew, or, where it can't be, marked
as something to be saved and never shown: see docs/decisions/0031-pictures.md.
"""

import base64
import binascii
import re
from collections.abc import Iterable, Iterator

from django.db import models
from django.utils import timezone

MAX_BYTES = 8 * 1024 * 1024
MAX_PER_REPLY = 16
# By content, not by what a gateway calls it; none of these can carry a script.
SIGNATURES = {
    "image/png": b"\x89PNG\r\n\x1a\n",
    "image/jpeg": b"\xff\xd8\xff",
    "image/gif": b"GIF8",
    "image/webp": b"RIFF",
}
OTHER = "application/octet-stream"
# An image that stands in the text itself.
_IN_TEXT = re.compile(
    r"!\[[^\]]{0,1000}\]\(\s*<?(data:image/[\w.+-]{1,40};base64,[A-Za-z0-9+/]+={0,2})[\s>)]"
)


class Picture(models.Model):
    class State(models.TextChoices):
        NEW = "new"
        DRAWN = "drawn"  # anew, by us: it may be shown
        RAW = "raw"  # as it came, as nothing could draw it

    message = models.ForeignKey("Message", models.CASCADE, related_name="pictures")
    media_type = models.CharField(max_length=40)
    content = models.BinaryField()
    # As it came.
    size_bytes = models.PositiveIntegerField()
    state = models.CharField(
        max_length=5, choices=State, default=State.NEW, db_default=State.NEW, editable=False
    )
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        ordering = ["id"]

    def __str__(self) -> str:
        return f"{self.media_type} of {self.message_id}"

    @property
    def kind(self) -> str:
        """Such as PNG; empty for what is no image of a known kind."""
        return self.media_type.removeprefix("image/").upper() if self.media_type != OTHER else ""

    @classmethod
    def keep(cls, message: int, data_urls: Iterable[str]) -> None:
        """Store those of a bearable size; what is no image of a known kind, as raw bytes."""
        found = []
        for url in data_urls:
            content = decode(url)
            if content and len(content) <= MAX_BYTES and len(found) < MAX_PER_REPLY:
                media_type = _type_of(content)
                found.append(
                    cls(
                        message_id=message,
                        media_type=media_type or OTHER,
                        state=cls.State.NEW if media_type else cls.State.RAW,
                        content=content,
                        size_bytes=len(content),
                    )
                )
        cls.objects.bulk_create(found)

    def settle(self, drawn: tuple[str, bytes] | None) -> None:
        """Keep it as drawn anew, its type and bytes, instead of as it came; None: it can't be drawn."""
        if drawn is None:
            facts: dict[str, object] = {"state": self.State.RAW}
        else:
            facts = {"state": self.State.DRAWN, "media_type": drawn[0], "content": drawn[1]}
        # Of two who drew it one is the first; of one that was deleted meanwhile nothing comes back.
        Picture.objects.filter(pk=self.pk, state=self.State.NEW).update(**facts)
        for name, value in facts.items():
            setattr(self, name, value)


def in_text(text: str) -> Iterator[str]:
    """The data: URLs of images that stand in Markdown."""
    return (found[1] for found in _IN_TEXT.finditer(text))


def decode(data_url: str) -> bytes:
    """The bytes of a base64 data: URL, b'' for anything else."""
    head, _, body = data_url.partition(",")
    if not head.startswith("data:") or not head.endswith(";base64"):
        return b""
    try:
        return base64.b64decode(body, validate=True)
    except (binascii.Error, ValueError):
        return b""


def _type_of(content: bytes) -> str:
    for media_type, signature in SIGNATURES.items():
        if content.startswith(signature):
            return media_type
    return ""
