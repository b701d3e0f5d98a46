"""The log of readings: who of the staff saw whose conversation, and when."""

from collections.abc import Iterator
from typing import Any

from django.contrib import admin
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html
from django.utils.translation import gettext_lazy

from chat.models import Conversation, ReadLog, User

from .export import Exporting, is_export
from .filters import DaysFilter, WordFilter
from .keyset import KeysetList
from .read_only import ReadOnlyAdmin


class ReaderFilter(WordFilter):
    title = gettext_lazy("who")
    parameter_name = "reader"

    def queryset(self, request: HttpRequest, queryset: Any) -> Any:
        return queryset.filter(reader=self.value()) if self.value() else queryset


class OwnerFilter(WordFilter):
    title = gettext_lazy("whose")
    parameter_name = "owner"

    def queryset(self, request: HttpRequest, queryset: Any) -> Any:
        if not self.value():
            return queryset
        keys = User.objects.filter(username=self.value()).values_list("key", flat=True)
        return queryset.filter(owner_key__in=list(keys))


class Readings(KeysetList):
    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        name_owners(self.result_list)
        uuids = {row.conversation for row in self.result_list}
        places = dict(Conversation.objects.filter(uuid__in=uuids).values_list("uuid", "pk"))
        for row in self.result_list:
            row.place = places.get(row.conversation)


def name_owners(rows: list[Any]) -> None:
    """Give each the name of whose it was; of somebody who is gone the beginning of the key."""
    keys = {row.owner_key for row in rows}
    names = dict(User.objects.filter(key__in=keys).values_list("key", "username"))
    for row in rows:
        row.owner = names.get(row.owner_key, row.owner_key.hex[:8])


@admin.register(ReadLog)
class ReadLogAdmin(Exporting, ReadOnlyAdmin):
    export_name = "readings"
    list_display = ("at", "reader", "whose", "what", "which", "why")
    list_display_links = None
    list_filter = (("at", DaysFilter), ReaderFilter, OwnerFilter, "what")
    sortable_by = ()

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[KeysetList]:
        return KeysetList if is_export(request) else Readings

    def export_rows(
        self, request: HttpRequest, batch: list[Any], form: str
    ) -> Iterator[dict[str, Any]]:
        name_owners(batch)
        for row in batch:
            yield {
                "id": row.pk,
                "at": row.at.isoformat(),
                "reader": row.reader,
                "whose": row.owner,
                "what": row.what,
                "conversation": str(row.conversation),
                "why": row.why,
            }

    @admin.display(description=gettext_lazy("whose"))
    def whose(self, row: Any) -> str:
        return str(row.owner)

    @admin.display(description=gettext_lazy("conversation"))
    def which(self, row: Any) -> str:
        """By its number: the log's readers need not be readers of conversations."""
        if row.place is None:
            return row.conversation.hex[:8]
        address = reverse("admin:chat_conversation_change", args=[row.place])
        return format_html('<a href="{}">{}</a>', address, row.place)
