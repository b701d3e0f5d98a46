"""Idempotency: a command that carries the same key again is answered as the first one was."""

import hashlib
import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.db import IntegrityError, models, transaction
from django.utils import timezone

from .messages import Message

KEPT = timedelta(days=7)


class Command(models.Model):
    """One command that a page gave under a key of its own making."""

    user = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE)
    name = models.CharField(max_length=20)
    # The address's id: a conversation's or a message's, empty for a new conversation.
    target = models.CharField(max_length=36, blank=True)
    key = models.CharField(max_length=64)
    content = models.CharField(max_length=64)
    answer = models.ForeignKey(Message, models.CASCADE, null=True)
    created_at = models.DateTimeField(default=timezone.now, db_index=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["user", "name", "target", "key", "content"], name="command_once"
            )
        ]

    def __str__(self) -> str:
        return f"{self.name} {self.target} {self.key}"

    @classmethod
    @transaction.atomic
    def once(
        cls,
        run: Callable[[], Message],
        *,
        user: Any,
        name: str,
        target: object = "",
        key: str = "",
        content: object = None,
    ) -> Message:
        """What `run` returns, or what it returned when the same command came before.

        The row is inserted first: a second of two at once waits for the first to commit.
        """
        if not key:
            return run()
        digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
        command = {
            "user": user,
            "name": name,
            "target": str(target),
            "key": key,
            "content": digest,
        }
        try:
            with transaction.atomic():
                row = cls.objects.create(**command)
        except IntegrityError:
            row = cls.objects.select_related("answer").get(**command)
            if row.answer is not None:
                return row.answer
        row.answer = run()
        row.save(update_fields=["answer"])
        return row.answer

    @classmethod
    def forget_old(cls) -> None:
        cls.objects.filter(created_at__lt=timezone.now() - KEPT).delete()
