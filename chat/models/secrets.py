"""Secrets at rest (gateways' keys, those of second factors), sealed under one outside the database.

Of the secrets the newest comes first, and the others still open what was sealed under them: those of
POTOK_SECRETS_KEY, then the lines of the file `gateway_keys` in the data directory.
"""

import base64
import os
import secrets
from functools import lru_cache
from typing import Any

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from django.conf import settings
from django.db import models, transaction

# Sealed under another secret; the file is gone or can't be read; it is empty or no text.
_NOT_HERE = (InvalidToken, OSError, ValueError)


class Unsealable(Exception):
    """What was sealed can't be opened: its secret isn't here."""


def seal(text: str) -> str:
    return _box().encrypt(text.encode()).decode()


def unseal(sealed: str) -> str:
    """Raises Unsealable."""
    try:
        return _box().decrypt(sealed.encode()).decode()
    except _NOT_HERE:
        raise Unsealable from None


def is_ours(sealed: str) -> bool:
    """Whether it can be opened here."""
    try:
        unseal(sealed)
    except Unsealable:
        return False
    return True


def reseal(sealed: str) -> str:
    """The same under the newest secret; raises Unsealable."""
    try:
        return _box().rotate(sealed.encode()).decode()
    except _NOT_HERE:
        raise Unsealable from None


@transaction.atomic
def reseal_column(rows: "models.QuerySet[Any]", column: str, name: str) -> tuple[int, list[str]]:
    """Seal this column anew: how many, and by `name` the rows whose can't be opened."""
    done, failed = 0, []
    for pk, called, sealed in (
        rows.select_for_update().exclude(**{column: ""}).values_list("pk", name, column)
    ):
        try:
            done += rows.filter(pk=pk).update(**{column: reseal(sealed)})
        except Unsealable:
            failed.append(str(called))
    return done, failed


def renew() -> None:
    """Put a new secret before those of the file."""
    path = settings.SECRETS_FILE
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    draft.touch(mode=0o600)
    with draft.open("w") as file:
        file.write("\n".join([secrets.token_urlsafe(64), *_lines(), ""]))
        # On the disk before anything is sealed under it.
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
    folder = os.open(path.parent, os.O_RDONLY)
    os.fsync(folder)
    os.close(folder)


def _box() -> MultiFernet:
    # The file is read each time: another process may have put a new secret into it.
    return _box_of((*settings.SECRETS_KEYS, *_lines()))


def _lines() -> list[str]:
    path = settings.SECRETS_FILE
    if settings.SECRETS_KEYS and not path.exists():
        return []
    return [line.strip() for line in path.read_text().splitlines() if line.strip()]


@lru_cache(maxsize=4)
def _box_of(found: tuple[str, ...]) -> MultiFernet:
    return MultiFernet([Fernet(base64.urlsafe_b64encode(_derived(text))) for text in found])


def _derived(text: str) -> bytes:
    return HKDF(SHA256(), 32, salt=None, info=b"potok gateway keys").derive(text.encode())
