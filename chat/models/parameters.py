"""What a request carries beside model and messages: a conversation's own, or what one begins with."""

from typing import Any, NamedTuple

from django.db import models

NONE = models.Value({}, output_field=models.JSONField())


class Asked(NamedTuple):
    """`parameters` by their names on the wire; only those that were set."""

    system_prompt: str
    parameters: dict[str, Any]

    @property
    def is_set(self) -> bool:
        return bool(self.system_prompt or self.parameters)
