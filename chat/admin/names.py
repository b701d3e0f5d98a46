"""People and groups by what calls remember of them, named as the one who looks may have it."""

from collections.abc import Iterable
from typing import NamedTuple

from django.http import HttpRequest
from django.utils.translation import gettext as _

from chat.models import User

from . import reading
from .people import ROLE_NAMES


class Named(NamedTuple):
    name: str
    pk: int | None = None  # of a person who is there and may be named


def names_of_users(request: HttpRequest, keys: Iterable[str]) -> dict[str, Named]:
    """By the key's hex: who isn't there any more, or may not be named, is the beginning of the key."""
    found = {key: Named(key[:8]) for key in keys}
    if reading.may_name(request):
        rows = User.objects.filter(key__in=found).values_list("key", "username", "pk")
        found |= {key.hex: Named(name, pk) for key, name, pk in rows}
    return found


def name_of_group(name: str) -> str:
    return str(ROLE_NAMES.get(name, name)) or _("no group")
