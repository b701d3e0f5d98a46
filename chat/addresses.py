"""Addresses that hold an id. A page holds hundreds, and each took `reverse` 20 µs."""

from functools import cache
from uuid import UUID

from django.urls import get_script_prefix, reverse

_NONE = UUID(int=0)


def address(name: str, uuid: UUID) -> str:
    """What `reverse` gives for a name whose only argument is an id."""
    before, after = _around(name, get_script_prefix())
    return f"{before}{uuid}{after}"


@cache
def _around(name: str, _prefix: str) -> tuple[str, str]:
    before, _, after = reverse(name, args=[_NONE]).partition(str(_NONE))
    return before, after
