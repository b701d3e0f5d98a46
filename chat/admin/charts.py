"""Bars as numbers for an SVG of a hundred by a hundred, which is stretched to wherever it stands.

What a chart says is in the table under it; it has a name for screen readers and no words inside.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

# Of a bar's place, the part that it fills.
_FILLED = 0.8
Amount = Decimal | int | None


@dataclass(frozen=True)
class Bar:
    x: str
    y: str
    width: str
    height: str
    told: str

    @property
    def shape(self) -> str:
        """As one path: a template spends its time on each number that it is given."""
        return f"M{self.x} {self.y}h{self.width}v{self.height}h-{self.width}z"


@dataclass(frozen=True)
class Chart:
    name: str
    most: str  # what a bar of full height says
    bars: Sequence[Bar]


def chart(name: str, amounts: Sequence[tuple[Amount, str]], most: str) -> Chart | None:
    """A bar for each amount, with its words; None where all are nothing."""
    highest = max((amount or 0 for amount, _told in amounts), default=0)
    if not highest:
        return None
    step = 100 / len(amounts)
    bars = [
        Bar(
            x=_place(step * (number + (1 - _FILLED) / 2)),
            y=_place(100 - share(amount, highest)),
            width=_place(step * _FILLED),
            height=_place(share(amount, highest)),
            told=told,
        )
        for number, (amount, told) in enumerate(amounts)
        if amount
    ]
    return Chart(name, most, bars)


def share(amount: Amount, highest: Amount) -> float:
    """Of a hundred; what is there at all can be seen."""
    return max(1.0, float(100 * amount / highest)) if amount and highest else 0.0


def _place(number: float) -> str:
    """As SVG reads it in every language."""
    return f"{number:.2f}"
