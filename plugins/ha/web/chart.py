"""The picture of who was primary when, as numbers for an SVG.

Pure: from the history's records to bars on a time line.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

WIDTH = 900
ROW = 34
LEFT = 130
SHORTEST = timedelta(minutes=5)


@dataclass(frozen=True, slots=True)
class Bar:
    """A stretch of time in which one node served; *x* and *width* in pixels."""

    address: str
    x: float
    y: int
    width: float
    told: str


@dataclass(frozen=True, slots=True)
class Chart:
    """Bars in one row a node; *ticks* are times with their place."""

    width: int
    height: int
    rows: tuple[tuple[str, int], ...]
    bars: tuple[Bar, ...]
    ticks: tuple[tuple[float, str], ...]


def draw(
    addresses: Sequence[str], history: Sequence[dict[str, Any]], now: datetime
) -> Chart:
    """Draw *history* (newest first, as the API gives it) up to *now*."""
    stretches = _stretches(history, now)
    shown = list(dict.fromkeys([*addresses, *(s[0] for s in stretches)]))
    rows = {address: 8 + place * ROW for place, address in enumerate(shown)}
    first = min([now - SHORTEST, *(begin for _, begin, _ in stretches)])
    scale = (WIDTH - LEFT) / (now - first).total_seconds()

    def place(moment: datetime) -> float:
        return round(LEFT + (moment - first).total_seconds() * scale, 1)

    bars = tuple(
        Bar(
            address=address,
            x=place(begin),
            y=rows[address],
            width=max(2.0, round(place(end) - place(begin), 1)),
            told=f"{address} served from {begin:%H:%M:%S} to {end:%H:%M:%S} UTC",
        )
        for address, begin, end in stretches
    )
    step = (now - first) / 4
    ticks = tuple(
        (place(first + step * i), f"{first + step * i:%H:%M:%S}") for i in range(5)
    )
    height = 8 + ROW * max(1, len(shown)) + 24
    return Chart(WIDTH, height, tuple(rows.items()), bars, ticks)


def _stretches(
    history: Sequence[dict[str, Any]], now: datetime
) -> list[tuple[str, datetime, datetime]]:
    """Who served from when to when; a node that vanished ends at the next begin."""
    stretches: list[tuple[str, datetime, datetime]] = []
    serving: tuple[str, datetime] | None = None
    for record in reversed(history):
        at = datetime.fromisoformat(record["time"])
        if serving and (record["to"] == "primary" or record["address"] == serving[0]):
            stretches.append((*serving, at))
            serving = None
        if record["to"] == "primary":
            serving = (record["address"], at)
    if serving:
        stretches.append((*serving, now))
    return stretches
