"""Who was erased, by key, in a file beside the database: a backup that is put back knows nothing of it.

The file is in no backup, so that a restore finds the newest one, whatever it restores.
"""

import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from uuid import UUID

from django.conf import settings

NAME = "erased"


def _path() -> Path:
    return Path(settings.DATA_DIR) / NAME


def is_kept() -> bool:
    return _path().exists()


def add(keys: Iterable[UUID]) -> None:
    """Write down those that aren't yet, for good."""
    new = set(keys) - keys_of_file()
    if not new:
        return
    descriptor = os.open(_path(), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    with os.fdopen(descriptor, "w") as file:
        # One line each, in one write, as several processes may add at once.
        file.write("".join(f"{key.hex}\n" for key in sorted(new)))
        file.flush()
        os.fsync(file.fileno())


def keys_of_file() -> set[UUID]:
    """All that were written down; a line that was cut is none."""
    found = set()
    if is_kept():
        for line in _path().read_text().splitlines():
            with suppress(ValueError):
                found.add(UUID(line))
    return found
