"""The ledger held against what gateways say themselves: by their balances, and call by call."""

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from decimal import Decimal
from itertools import pairwise

from asgiref.sync import async_to_sync
from django.db.models import Count, F, Q, QuerySet, Sum, Window
from django.db.models.functions import RowNumber, TruncDate
from django.utils import timezone

from chat.models import Balance, Call, Gateway
from chat.models.calls import CallEnd
from chat.models.day_tallies import day_of
from chat.models.money import NANO
from chat.upstream.client import Client
from chat.upstream.endpoint import Endpoint
from chat.upstream.errors import GatewayError
from chat.upstream.usage import Usage

from .attempt import reported
from .endpoints import endpoint_of

LOOKUPS_AT_ONCE = 4
# No call takes longer; so far before a balance those begin that may have ended after it.
_LONGEST = timedelta(hours=24)
# Of a call that failed before anything came, no cost was to be expected.
_USED = Q(error_kind="") | Q(first_delta_at__isnull=False)


@dataclass
class Line:
    """What the ledger says of some time, and the gateway; both in the gateway's currency."""

    since: datetime | date
    until: datetime | date
    ours: Decimal
    theirs: Decimal
    calls: int = 0
    unknown: int = 0  # calls of which the ledger doesn't know the cost

    @property
    def difference(self) -> Decimal:
        """What the gateway took beyond what the ledger says."""
        return self.theirs - self.ours

    @property
    def is_topped_up(self) -> bool:
        """The balance has risen: by how much was paid in, it doesn't tell."""
        return self.theirs < 0


def by_balance(gateway: Gateway, days: int) -> list[Line]:
    """From each day's last balance to the next day's that has one."""
    return [
        Line(
            since=one.at,
            until=other.at,
            theirs=one.amount - other.amount,
            **_ledger(gateway, one, other),
        )
        for one, other in pairwise(_last_of_days(gateway, days))
    ]


def _last_of_days(gateway: Gateway, days: int) -> list[Balance]:
    """The last balance of each day, and one before them all, in the currency that it has now."""
    zone = timezone.get_default_timezone()
    told = gateway.balances.filter(currency=gateway.currency).annotate(
        place=Window(
            RowNumber(),
            partition_by=TruncDate("at", tzinfo=zone),
            order_by=[F("at").desc(), F("id").desc()],
        )
    )
    newest_first = told.filter(place=1).order_by("-at", "-id")
    return list(reversed(newest_first[: days + 1]))


def _ledger(gateway: Gateway, one: Balance, other: Balance) -> dict[str, Decimal | int]:
    """What calls that ended between two balances have cost."""
    calls = Call.objects.filter(
        gateway=gateway,
        currency=gateway.currency,
        started_at__gt=one.at - _LONGEST,
        ended_at__gt=one.at,
        ended_at__lte=other.at,
    )
    sums = calls.aggregate(
        cost=Sum("cost_nano"),
        calls=Count("pk"),
        unknown=Count("pk", filter=_USED & Q(cost_nano=None)),
    )
    cost = Decimal(int(sums["cost"] or 0)) / NANO
    return {"ours": cost, "calls": sums["calls"], "unknown": sums["unknown"]}


# --- call by call -----------------------------------------------------------------------------------


@dataclass
class Lookups:
    """What a gateway's own records say of some of its calls."""

    lines: list[Line] = field(default_factory=list)  # one a day
    of: int = 0  # calls that have a record to be asked for
    asked: int = 0
    missing: int = 0  # of which there was none
    corrected: int = 0
    error: GatewayError | None = None  # why no more was asked


def by_lookups(gateway: Gateway, days: int, most: int, corrects: bool = False) -> Lookups:
    """Ask for the records of the dearest calls of these days; `corrects`: put what they say into
    the ledger where that says otherwise.
    """
    calls = _recorded(gateway, days)
    found = Lookups(of=calls.count())
    dearest = list(calls.order_by(F("cost_nano").desc(nulls_last=True), "-pk")[:most])
    if not dearest:
        return found
    by_day: dict[date, Line] = {}
    for call, usage in _ask_all(endpoint_of(gateway), dearest, found):
        found.asked += 1
        if usage is None or usage.cost is None:
            found.missing += 1
            continue
        day = day_of(call.started_at)
        line = by_day.setdefault(day, Line(day, day, Decimal(), Decimal()))
        line.calls += 1
        line.ours += call.cost or 0
        line.unknown += call.cost is None
        line.theirs += usage.cost
        told = CallEnd(call.pk, **reported(usage))
        if corrects and told.cost_nano != call.cost_nano:
            Call.correct(told)
            found.corrected += 1
    found.lines = [by_day[day] for day in sorted(by_day)]
    return found


def _recorded(gateway: Gateway, days: int) -> QuerySet[Call]:
    """Calls of which the gateway keeps a record under their request id."""
    since = timezone.now() - timedelta(days=days)
    ended = Call.objects.filter(
        gateway=gateway,
        currency=gateway.currency,
        started_at__gt=since,
        ended_at__isnull=False,
    )
    if endpoint_of(gateway).vendor != "openrouter":
        return ended.none()
    return ended.filter(request_id__startswith="gen-")


def _ask_all(
    endpoint: Endpoint, calls: Sequence[Call], found: Lookups
) -> Iterator[tuple[Call, Usage | None]]:
    """Each call with its record; ends at the first error that others would meet as well."""

    async def ask() -> list[tuple[Call, Usage | None]]:
        client, slots = Client(), asyncio.Semaphore(LOOKUPS_AT_ONCE)

        async def one(call: Call) -> tuple[Call, Usage | None] | None:
            async with slots:
                if found.error:
                    return None
                try:
                    return call, await client.generation_usage(endpoint, call.request_id)
                except GatewayError as error:
                    if error.kind == "not_found":
                        return call, None
                    found.error = error
                    return None

        try:
            return [each for each in await asyncio.gather(*map(one, calls)) if each]
        finally:
            await client.aclose()

    yield from async_to_sync(ask)()
