"""What history is to the admin: to be looked at, by nobody to be changed, superusers included."""

from typing import Any

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse
from django.utils.functional import cached_property

# Two hundred pages: whoever looks further back narrows the list by a filter.
MOST_LISTED = 10_000


class CappedPaginator(Paginator):  # type: ignore[type-arg]
    """Counts no further than MOST_LISTED, so that no page costs a COUNT over a whole table."""

    @cached_property
    def count(self) -> int:
        return min(self._count, MOST_LISTED)

    @property
    def is_capped(self) -> bool:
        return self._count > MOST_LISTED

    @cached_property
    def _count(self) -> int:
        return int(self.object_list.order_by().values("pk")[: MOST_LISTED + 1].count())


class ReadOnlyAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    actions = None
    paginator = CappedPaginator
    list_per_page = 50
    show_full_result_count = False
    # The stock template styles a list without any actions bar inline, which our CSP forbids.
    actions_on_top = True

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> HttpResponse:
        # The stock list would answer a forged POST with the list.
        if request.method not in ("GET", "HEAD"):
            raise PermissionDenied
        return super().changelist_view(request, extra_context)
