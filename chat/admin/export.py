"""What a list is narrowed to as CSV or JSONL: streamed, each batch logged before it leaves."""

import csv
import json
from collections.abc import Callable, Iterable, Iterator
from decimal import Decimal
from typing import Any

from django.contrib.admin.options import IncorrectLookupParameters
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse, StreamingHttpResponse
from django.urls import path
from django.utils import timezone

from chat.rendering import takeout

from . import reading

# The first one is small, so that something comes at once.
FIRST, BATCH = 50, 500
FIRST_CHARS, CHUNK_CHARS = 4_000, 64_000
TYPES = {"csv": "text/csv; charset=utf-8", "jsonl": "application/x-ndjson; charset=utf-8"}
BOM = "\N{ZERO WIDTH NO-BREAK SPACE}"  # without it Excel reads Cyrillic as something else
# What makes a spreadsheet take a cell for a formula, at its beginning or after white space.
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "|", "＝", "＋", "－", "＠")

Row = dict[str, Any]


class Exporting:
    """For a list in the admin: `export.csv` and `export.jsonl` of what the list is narrowed to."""

    export_name = ""

    def export_rows(self, request: HttpRequest, batch: list[Any], form: str) -> Iterator[Row]:
        """A row for each, with the same names in all; what it shows of words is logged first."""
        raise NotImplementedError

    def get_urls(self) -> list[Any]:
        name = f"{self.opts.app_label}_{self.opts.model_name}_export"
        guarded = self.admin_site.admin_view(self.export)
        return [path("export.<str:form>", guarded, name=name), *super().get_urls()]

    def export(self, request: HttpRequest, form: str) -> HttpResponse:
        if form not in TYPES:
            raise Http404
        if request.method != "GET" or not self.has_view_permission(request):
            raise PermissionDenied
        if reading.may_read(request) and reading.must_say_why(request):
            return reading.ask_why(request)
        try:
            listed = self.get_changelist_instance(request)
        except IncorrectLookupParameters:
            raise Http404 from None
        batches = _batches(listed.queryset)
        rows = (row for batch in batches for row in self.export_rows(request, batch, form))
        lines = _csv(rows) if form == "csv" else _jsonl(rows)
        name = f"potok-{self.export_name}-{timezone.localdate():%Y-%m-%d}.{form}"
        return StreamingHttpResponse(
            takeout.streamed(_in_chunks(lines)),
            content_type=TYPES[form],
            headers={
                "Content-Disposition": f'attachment; filename="{name}"',
                "X-Content-Type-Options": "nosniff",
                # Else Django packs each chunk by itself, and who unpacks it stops after the first.
                "Content-Encoding": "identity",
            },
        )


def is_export(request: HttpRequest) -> bool:
    match = request.resolver_match
    return match is not None and (match.url_name or "").endswith("_export")


def _batches(rows: QuerySet[Any]) -> Iterator[list[Any]]:
    """Newest first by key, a query a batch: no transaction is held open by a slow reader."""
    rows = rows.order_by("-pk")
    batch = list(rows[:FIRST])
    while batch:
        yield batch
        batch = list(rows.filter(pk__lt=batch[-1].pk)[:BATCH])


def _csv(rows: Iterable[Row]) -> Iterator[str]:
    line = _Line()
    writer = csv.writer(line)
    for number, row in enumerate(rows):
        if number == 0:
            yield BOM + line.of(writer.writerow, row.keys())
        yield line.of(writer.writerow, map(cell, row.values()))


class _Line:
    """What csv writes to, a line at a time."""

    def write(self, text: str) -> None:
        self.text = text

    def of(self, write_row: Callable[[Iterable[Any]], Any], values: Iterable[Any]) -> str:
        write_row(values)
        return self.text


def cell(value: Any) -> str:
    """A value as a spreadsheet may have it: a text that it would reckon with stays a text."""
    if value is None:
        return ""
    if isinstance(value, list):
        value = ", ".join(map(str, value))
    if isinstance(value, str) and (
        value.startswith(_FORMULA) or value.lstrip().startswith(_FORMULA)
    ):
        return f"'{value}"
    return f"{value:f}" if isinstance(value, Decimal) else str(value)


def _jsonl(rows: Iterable[Row]) -> Iterator[str]:
    for row in rows:
        yield json.dumps(row, ensure_ascii=False, default=_plain) + "\n"


def _plain(value: Any) -> str:
    """Money in full: a float would round it."""
    return f"{value:f}" if isinstance(value, Decimal) else str(value)


def _in_chunks(lines: Iterable[str]) -> Iterator[bytes]:
    chunk: list[str] = []
    size, most = 0, FIRST_CHARS
    for line in lines:
        chunk.append(line)
        size += len(line)
        if size > most:
            yield "".join(chunk).encode()
            chunk, size, most = [], 0, CHUNK_CHARS
    yield "".join(chunk).encode()
