"""Which calls a page about spending adds up, and the addresses of that page and of what is behind it."""

from dataclasses import dataclass, replace
from functools import cached_property
from urllib.parse import urlencode
from uuid import UUID

from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest
from django.urls import reverse
from django.utils.translation import gettext_lazy

from . import reading
from .spans import Span

# What tells calls apart: in an address, as a column, and as a filter of the list of calls.
COLUMNS = {
    "user": "user_key",
    "group": "user_group",
    "gateway": "gateway_slug",
    "model": "model",
    "purpose": "purpose",
}
IN_CALLS = {name: name for name in COLUMNS} | {"purpose": "purpose__exact"}
NAMES = {
    "user": gettext_lazy("user"),
    "group": gettext_lazy("group"),
    "gateway": gettext_lazy("gateway"),
    "model": gettext_lazy("model"),
    "purpose": gettext_lazy("purpose"),
}


@dataclass(frozen=True)
class View:
    """The calls of a span of days, or those among them that agree in some columns."""

    request: HttpRequest
    span: Span
    narrowed: dict[str, str]
    # Of this page, and of the list of calls for those who may open it: found once, as a year is a
    # link to both for each of its days.
    address: str
    list_of_calls: str

    @classmethod
    def asked(cls, request: HttpRequest) -> "View":
        """As the address says; 404 for a user's key that is none, 403 for a group to an analyst."""
        query = request.GET
        narrowed = {name: query[name] for name in COLUMNS if name in query}
        if "user" in narrowed:
            try:
                narrowed["user"] = UUID(narrowed["user"]).hex
            except ValueError as error:
                raise Http404 from error
        may_list = request.user.has_perm("chat.view_call")
        calls = reverse("admin:chat_call_changelist") if may_list else ""
        view = cls(request, Span.asked(query), narrowed, reverse("admin:spend"), calls)
        if "group" in narrowed and not view.may_name:
            raise PermissionDenied
        return view

    @cached_property
    def may_name(self) -> bool:
        return reading.may_name(self.request)

    @property
    def only(self) -> dict[str, str]:
        """What columns must be."""
        return {COLUMNS[name]: value for name, value in self.narrowed.items()}

    def at(self, span: Span) -> "View":
        return replace(self, span=span)

    def without(self, name: str) -> "View":
        left = {key: value for key, value in self.narrowed.items() if key != name}
        return replace(self, narrowed=left)

    def narrowed_to(self, name: str, value: str) -> "View | None":
        """None of a group, to those who may not know names: a group may be one person."""
        if name == "group" and not self.may_name:
            return None
        return replace(self, narrowed=self.narrowed | {name: value})

    # --- addresses --------------------------------------------------------------------------------

    def here(self) -> str:
        return _link(self.address, self.span.query, self.narrowed)

    def calls(self) -> str:
        """The list of the calls that are added up; nothing for those who may not open it."""
        if not self.list_of_calls:
            return ""
        first, last = self.span.first.isoformat(), self.span.last.isoformat()
        narrowed = {IN_CALLS[name]: value for name, value in self.narrowed.items()}
        days = {"started_at_from": first, "started_at_to": last}
        return _link(self.list_of_calls, days, narrowed)

    def conversations(self, person: int) -> str:
        """Those that this person was active in since the first day."""
        query = {"owner__id__exact": person, "active_at_from": self.span.first.isoformat()}
        return f"{reverse('admin:chat_conversation_changelist')}?{urlencode(query)}"


def _link(address: str, days: dict[str, str], narrowed: dict[str, str]) -> str:
    """Days and numbers stand in an address as they are: to quote those of a year takes its time."""
    query = "&".join(f"{name}={value}" for name, value in days.items())
    return f"{address}?{query}&{urlencode(narrowed)}" if narrowed else f"{address}?{query}"
