"""The log of readings: who of the staff saw whose conversation, and when."""

from typing import Any

from django.contrib import admin
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html
from django.utils.translation import gettext_lazy

from chat.models import Conversation, ReadLog, User

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
        owners = {row.owner_key for row in self.result_list}
        names = dict(User.objects.filter(key__in=owners).values_list("key", "username"))
        uuids = {row.conversation for row in self.result_list}
        places = dict(Conversation.objects.filter(uuid__in=uuids).values_list("uuid", "pk"))
        for row in self.result_list:
            row.owner = names.get(row.owner_key, row.owner_key.hex[:8])
            row.place = places.get(row.conversation)


@admin.register(ReadLog)
class ReadLogAdmin(ReadOnlyAdmin):
    list_display = ("at", "reader", "whose", "what", "which", "why")
    list_display_links = None
    list_filter = (("at", DaysFilter), ReaderFilter, OwnerFilter, "what")
    sortable_by = ()

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[KeysetList]:
        return Readings

    @admin.display(description=gettext_lazy("whose"))
    def whose(self, row: Any) -> str:
        return str(row.owner)

    @admin.display(description=gettext_lazy("conversation"))
    def which(self, row: Any) -> str:
        """By its number: the log's readers need not be readers of conversations."""
        if row.place is None:
            return row.conversation.hex[:8]  # type: ignore[no-any-return]
        address = reverse("admin:chat_conversation_change", args=[row.place])
        return format_html('<a href="{}">{}</a>', address, row.place)
