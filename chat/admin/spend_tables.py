"""What days add up to by whatever tells calls apart: several tables in one statement."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from django.db import connection
from django.db.models import Q, QuerySet, Sum

from chat.models import DayTally

from .spend_sums import SUMMED, Sums

# Those that are told for each currency apart.
_OF_MONEY = ("priced", "cost_nano", "estimated_cost", "unknown_cost")
_KEYS = 2  # as many columns as a table may have


class By(NamedTuple):
    """A line for each value of these columns, the dearest (by the first currency) first, or those
    with most of another sum.
    """

    columns: tuple[str, ...]
    most: str = "cost_nano_0"


def tables(
    rows: QuerySet[DayTally], wanted: Sequence[By], currencies: Sequence[str], most: int
) -> list[list[Sums]]:
    """The first `most` lines of each table.

    The rows are gone over once and added up by all columns of all tables, which leaves few: who asks a
    model today asked it yesterday. Each table is made of these few.
    """
    names = list(dict.fromkeys(name for table in wanted for name in table.columns))
    sums = _apart(currencies)
    few, parameters = rows.values(*names).annotate(**sums).query.sql_with_params()
    parts = [_part(place, table, list(sums)) for place, table in enumerate(wanted)]
    found: list[list[Sums]] = [[] for _table in wanted]
    with connection.cursor() as cursor:
        # Both databases keep what `few` finds where it is named more than once.
        cursor.execute(
            f"WITH few ({', '.join([*names, *sums])}) AS ({few})"  # noqa: S608
            f" SELECT * FROM ({' UNION ALL '.join(parts)}) parts WHERE line <= %s ORDER BY place, line",
            [*parameters, most],
        )
        for place, _line, *values in cursor.fetchall():
            keys, told = values[:_KEYS], dict(zip(sums, values[_KEYS:], strict=True))
            found[place].append(_sums(wanted[place].columns, keys, told, currencies))
    return found


def _apart(currencies: Sequence[str]) -> dict[str, Sum]:
    """What is added up: money once for each currency, by its place."""
    sums = {name: Sum(name) for name in SUMMED if name not in _OF_MONEY}
    for place, currency in enumerate(currencies):
        only = Q(currency=currency)
        sums |= {f"{name}_{place}": Sum(name, filter=only) for name in _OF_MONEY}
    return {f"sum_{name}": sum_ for name, sum_ in sums.items()}


def _part(place: int, table: By, sums: Sequence[str]) -> str:
    """One table in SQL: its place, its lines by number, what tells them apart as texts, their sums."""
    first = [f"sum_{table.most}"] if f"sum_{table.most}" in sums else []
    order = [f"SUM({name}) DESC NULLS LAST" for name in (*first, "sum_tokens", "sum_calls")]
    line = f"ROW_NUMBER() OVER (ORDER BY {', '.join([*order, *table.columns])})"
    keys = [*table.columns, *["''"] * (_KEYS - len(table.columns))]
    selected = [f"{place} AS place", f"{line} AS line"]
    selected += [f"CAST({key} AS text) AS key_{number}" for number, key in enumerate(keys)]
    selected += [f"SUM({name}) AS {name}" for name in sums]
    return f"SELECT {', '.join(selected)} FROM few GROUP BY {', '.join(table.columns)}"  # noqa: S608


def _sums(
    columns: Sequence[str], keys: Sequence[str], told: Any, currencies: Sequence[str]
) -> Sums:
    fields = map(DayTally._meta.get_field, columns)
    line = Sums(key=tuple(field.to_python(key) for field, key in zip(fields, keys, strict=False)))
    shared = {name: told[f"sum_{name}"] for name in SUMMED if name not in _OF_MONEY}
    line.add_sums("", shared | dict.fromkeys(_OF_MONEY, 0))
    for place, currency in enumerate(currencies):
        money = {name: told[f"sum_{name}_{place}"] or 0 for name in _OF_MONEY}
        line.add_sums(currency, dict.fromkeys(SUMMED, 0) | money)
    return line
