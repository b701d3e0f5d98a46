"""How gateways have done of late, as their calls tell it."""

from datetime import timedelta
from typing import Any

from django.db.models import F, OuterRef, QuerySet, Subquery, Sum
from django.utils import timezone

from chat.models import Call, DayTally, Gateway
from chat.models.rates import today

ERRORS_WITHIN = timedelta(days=7)
MOST_ERRORS = 10


def told(gateways: QuerySet[Gateway]) -> QuerySet[Gateway]:
    """With `calls_today`, `failed_today`, and the kind and time of the last error."""
    of_today = DayTally.objects.filter(day=today(), gateway_slug=OuterRef("slug")).order_by()
    by_gateway = of_today.values("gateway_slug")
    failed = _errors().filter(gateway=OuterRef("pk")).order_by("-started_at")
    return gateways.annotate(
        calls_today=Subquery(by_gateway.annotate(n=Sum("calls")).values("n")),
        failed_today=Subquery(by_gateway.annotate(n=Sum("errors")).values("n")),
        last_error_kind=Subquery(failed.values("error_kind")[:1]),
        last_error_at=Subquery(failed.values("started_at")[:1]),
    )


def errors_of_late(gateway: Gateway) -> list[dict[str, Any]]:
    """The newest, without the gateway's words: they may quote what it was asked, and a call's own
    page has them for those who may read.
    """
    newest = _errors().filter(gateway=gateway).order_by(F("started_at").desc())
    facts = newest.values("pk", "started_at", "model", "http_status", "error_kind")
    return list(facts[:MOST_ERRORS])


def _errors() -> QuerySet[Call]:
    since = timezone.now() - ERRORS_WITHIN
    return Call.objects.exclude(error_kind="").filter(started_at__gte=since)
