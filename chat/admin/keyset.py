"""Lists that go on from a row, not from a number: as quick at the end as at the beginning.

`?p=o<key>` is what comes after (older than) a row, `?p=n<key>` what comes before it. The key is the
row's, after the moment in microseconds where the list goes by one: `1700000000000000.42`.
"""

import re
from datetime import UTC, datetime, timedelta
from typing import Any

from django.contrib.admin.views.main import PAGE_VAR, ChangeList
from django.db.models import QuerySet
from django.http import HttpRequest

_PLACE = re.compile(r"([on])(?:(\d{1,17})\.)?(\d{1,18})", re.ASCII)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class KeysetList(ChangeList):
    """Newest first by `model_admin.keyset_field`, else by the key alone."""

    older = newer = ""  # query strings

    def get_results(self, request: HttpRequest) -> None:
        field = getattr(self.model_admin, "keyset_field", "")
        place = _PLACE.fullmatch(request.GET.get(PAGE_VAR, ""))
        is_back = place is not None and place[1] == "n"
        rows = self.queryset.order_by(*([f"-{field}"] if field else []), "-pk")
        if place and bool(place[2]) == bool(field):
            rows = _beyond(rows, field, is_back, int(place[2] or 0), int(place[3]))
        found = list((rows.reverse() if is_back else rows)[: self.list_per_page + 1])
        has_more = len(found) > self.list_per_page
        found = found[: self.list_per_page]
        if is_back:
            found.reverse()
        if found and (has_more if not is_back else True):
            self.older = self.get_query_string({PAGE_VAR: f"o{_key(found[-1], field)}"})
        if found and place and (has_more if is_back else True):
            self.newer = self.get_query_string({PAGE_VAR: f"n{_key(found[0], field)}"})
        self.result_list = found
        self.result_count = self.full_result_count = len(found)
        self.show_full_result_count = self.show_admin_actions = False
        self.can_show_all = self.multi_page = False
        self.paginator = None


def _beyond(rows: QuerySet[Any], field: str, is_back: bool, micros: int, pk: int) -> QuerySet[Any]:
    side, edge = ("gt", "lte") if is_back else ("lt", "gte")
    if not field:
        return rows.filter(**{f"pk__{side}": pk})
    try:
        moment = _EPOCH + timedelta(microseconds=micros)
    except OverflowError:
        return rows
    # As a range and what is left out of it, which an index can follow; an OR it can't.
    rows = rows.filter(**{f"{field}__{side}e": moment})
    return rows.exclude(**{field: moment, f"pk__{edge}": pk})


def _key(row: Any, field: str) -> str:
    if not field:
        return str(row.pk)
    micros = (getattr(row, field) - _EPOCH) // timedelta(microseconds=1)
    return f"{micros}.{row.pk}"
