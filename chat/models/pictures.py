"""Images that a model made, kept as they came; nothing is loaded from elsewhere to show them."""

import base64
import binascii
from collections.abc import Iterable

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


class Picture(models.Model):
    message = models.ForeignKey("Message", models.CASCADE, related_name="pictures")
    media_type = models.CharField(max_length=20)
    content = models.BinaryField()
    size_bytes = models.PositiveIntegerField()
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        ordering = ["id"]

    def __str__(self) -> str:
        return f"{self.media_type} of {self.message_id}"

    @property
    def kind(self) -> str:
        """Such as PNG."""
        return self.media_type.rpartition("/")[2].upper()

    @classmethod
    def keep(cls, message: int, data_urls: Iterable[str]) -> None:
        """Store those that are images of a known kind and a bearable size."""
        found = []
        for url in data_urls:
            content = decode(url)
            media_type = _type_of(content)
            if media_type and len(content) <= MAX_BYTES and len(found) < MAX_PER_REPLY:
                found.append(
                    cls(
                        message_id=message,
                        media_type=media_type,
                        content=content,
                        size_bytes=len(content),
                    )
                )
        cls.objects.bulk_create(found)


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
