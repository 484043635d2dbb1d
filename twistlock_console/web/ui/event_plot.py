"""Bar chart of the number of events over time, as numbers for an SVG.

Pure: counts per step become bars.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

BAR_COUNT = 48
WIDTH_PX = 960
HEIGHT_PX = 120
GAP_PX = 3


@dataclass(frozen=True, slots=True)
class CountBar:
    """The events of one step as a bar; position and size are in pixels."""

    x: float
    y: float
    width: float
    height: float
    tooltip: str


@dataclass(frozen=True, slots=True)
class EventPlot:
    """Bars from left to right, sizes in pixels.

    *ticks* are pairs of an x position and the time to write there.
    """

    width: int
    height: int
    bars: tuple[CountBar, ...]
    ticks: tuple[tuple[float, str], ...]
    max_count: int
    total: int


def draw_plot(counts: Mapping[int, int], since: datetime, step: timedelta) -> EventPlot:
    """Return the chart of *counts*.

    Args:
        counts: number of events by step; step 0 begins at *since*.
        since: begin of the chart.
        step: duration of one step, the width of a bar.
    """
    inside = {place: count for place, count in counts.items() if 0 <= place < BAR_COUNT}
    max_count = max(inside.values(), default=0)
    each = WIDTH_PX / BAR_COUNT

    def bar(place: int, count: int) -> CountBar:
        height = max(2.0, round(HEIGHT_PX * count / max_count, 1))
        begin = since + place * step
        noun = "event" if count == 1 else "events"
        tooltip = f"{count:,} {noun} from {begin:%m-%d %H:%M} UTC"
        x, y = round(place * each, 1), round(HEIGHT_PX - height, 1)
        return CountBar(x, y, each - GAP_PX, height, tooltip)

    bars = tuple(bar(place, count) for place, count in sorted(inside.items()))
    shape = "%m-%d %H:%M" if BAR_COUNT * step > timedelta(hours=20) else "%H:%M:%S"
    ticks = tuple(
        (round(i * WIDTH_PX / 6, 1), (since + step * BAR_COUNT / 6 * i).strftime(shape))
        for i in range(6)
    )
    return EventPlot(
        WIDTH_PX, HEIGHT_PX + 22, bars, ticks, max_count, sum(inside.values())
    )
