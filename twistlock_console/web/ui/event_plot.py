"""The picture of how many events there were when, as numbers for an SVG.

Pure: from counts by step to bars.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

BARS = 48
WIDTH = 960
HEIGHT = 120
GAP = 3


@dataclass(frozen=True, slots=True)
class Bar:
    """The events of one step, in pixels, with its tooltip."""

    x: float
    y: float
    width: float
    height: float
    tooltip: str


@dataclass(frozen=True, slots=True)
class EventPlot:
    """Bars from left to right; *ticks* are times with their place."""

    width: int
    height: int
    bars: tuple[Bar, ...]
    ticks: tuple[tuple[float, str], ...]
    most: int
    total: int


def plot(counts: Mapping[int, int], since: datetime, step: timedelta) -> EventPlot:
    """Draw *counts*, by the number of steps after *since*."""
    inside = {place: count for place, count in counts.items() if 0 <= place < BARS}
    most = max(inside.values(), default=0)
    each = WIDTH / BARS

    def bar(place: int, count: int) -> Bar:
        height = max(2.0, round(HEIGHT * count / most, 1))
        begin = since + place * step
        noun = "event" if count == 1 else "events"
        tooltip = f"{count:,} {noun} from {begin:%m-%d %H:%M} UTC"
        x, y = round(place * each, 1), round(HEIGHT - height, 1)
        return Bar(x, y, each - GAP, height, tooltip)

    bars = tuple(bar(place, count) for place, count in sorted(inside.items()))
    shape = "%m-%d %H:%M" if BARS * step > timedelta(hours=20) else "%H:%M:%S"
    ticks = tuple(
        (round(i * WIDTH / 6, 1), (since + step * BARS / 6 * i).strftime(shape))
        for i in range(6)
    )
    return EventPlot(WIDTH, HEIGHT + 22, bars, ticks, most, sum(inside.values()))
