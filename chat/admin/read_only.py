"""What history is to the admin: to be looked at, by nobody to be changed, superusers included."""

from collections.abc import Iterator
from typing import Any

from django.contrib import admin
from django.contrib.admin.utils import unquote
from django.core.exceptions import PermissionDenied
from django.core.paginator import Paginator
from django.http import Http404, HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils.functional import cached_property


class CappedPaginator(Paginator):
    """Counts no further than `most`, so that no page costs a COUNT over a whole table."""

    # Two hundred pages: whoever looks further back narrows the list by a filter.
    most = 10_000

    @cached_property
    def count(self) -> int:
        return min(self._count, self.most)

    @property
    def is_capped(self) -> bool:
        return self._count > self.most

    @cached_property
    def _count(self) -> int:
        return int(self.object_list.order_by().values("pk")[: self.most + 1].count())


class ReadOnlyAdmin(admin.ModelAdmin):
    """Lists, and pages of our own where a row has one: `page_template` with `page_context`."""

    page_template = ""
    actions = None
    # The stock list styles itself inline without any bar for actions, which our CSP forbids.
    actions_on_top = True
    paginator = CappedPaginator
    list_per_page = 50
    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER
    allowed_lookups: tuple[str, ...] = ()

    def lookup_allowed(self, lookup: str, value: str, request: Any = None) -> bool:
        """What a filter of the list asks, and no other: the stock admin would let anybody who sees
        a list find out any column by its beginning.
        """
        return lookup in self.allowed_lookups or lookup in set(self._filters_ask(request))

    def _filters_ask(self, request: Any) -> Iterator[str]:
        for each in self.get_list_filter(request):
            if isinstance(each, str):
                field = self.model._meta.get_field(each)
                target = f"__{field.target_field.name}" if field.is_relation else ""
                yield f"{each}{target}__exact"
            elif isinstance(each, tuple):
                yield from (f"{each[0]}_from", f"{each[0]}_to")
            else:
                yield from getattr(each, "names", None) or [each.parameter_name]

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

    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: Any = None,
    ) -> HttpResponse:
        """The row's page; there is no form."""
        if not self.has_view_permission(request) or request.method not in ("GET", "HEAD"):
            raise PermissionDenied
        row = self.get_object(request, unquote(object_id))
        if row is None or not self.page_template:
            raise Http404
        return self.page(request, row)

    def page(self, request: HttpRequest, row: Any, **more: Any) -> HttpResponse:
        context = {
            **self.admin_site.each_context(request),
            "title": str(row),
            "opts": self.opts,
            **self.page_context(request, row),
            **more,
        }
        request.current_app = self.admin_site.name
        return TemplateResponse(request, self.page_template, context)

    def page_context(self, request: HttpRequest, row: Any) -> dict[str, Any]:
        raise NotImplementedError
