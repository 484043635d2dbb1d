"""Draw the history of role changes: the serving node over time, and each failover.

Pure. Records of the history become numbers for an SVG, and a sentence for the banner.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from plugins.ha.messages import RoleChangeResponse
from twistlock_console.events.types import Role

WIDTH_PX = 900
ROW_PX = 34
LEFT_PX = 130
MIN_SPAN = timedelta(minutes=5)
MAX_TIMELINES = 3
#: The end of each phase in words; its duration counts from the phase before.
PHASE_NAMES = {
    "noticed": "noticed that the primary is lost",
    "elected": "elected",
    "writable": "database writable",
    "lease": "lease held",
    "ports": "ports open",
}
SESSION_NOTE = "You stay logged in, and what was saved is kept"


@dataclass(frozen=True, slots=True)
class ServingBar:
    """A period in which one node served; *x*, *y* and *width* in pixels."""

    address: str
    x: float
    y: int
    width: float
    tooltip: str


@dataclass(frozen=True, slots=True)
class Chart:
    """The chart: one row of bars per node.

    *rows* are addresses with their y, *ticks* x with their time; all in pixels.
    """

    width: int
    height: int
    rows: tuple[tuple[str, int], ...]
    bars: tuple[ServingBar, ...]
    ticks: tuple[tuple[float, str], ...]


def draw_chart(
    addresses: Sequence[str], history: Sequence[RoleChangeResponse], now: datetime
) -> Chart:
    """Draw *history* (newest first, as the API gives it) up to *now*."""
    periods = _serving_periods(history, now)
    shown = list(dict.fromkeys([*addresses, *(s[0] for s in periods)]))
    rows = {address: 8 + place * ROW_PX for place, address in enumerate(shown)}
    first = min([now - MIN_SPAN, *(begin for _, begin, _ in periods)])
    scale = (WIDTH_PX - LEFT_PX) / (now - first).total_seconds()

    def place(moment: datetime) -> float:
        return round(LEFT_PX + (moment - first).total_seconds() * scale, 1)

    bars = tuple(
        ServingBar(
            address=address,
            x=place(begin),
            y=rows[address],
            width=max(2.0, round(place(end) - place(begin), 1)),
            tooltip=f"{address} served from {begin:%H:%M:%S} to {end:%H:%M:%S} UTC",
        )
        for address, begin, end in periods
    )
    step = (now - first) / 4
    ticks = tuple(
        (place(first + step * i), f"{first + step * i:%H:%M:%S}") for i in range(5)
    )
    height = 8 + ROW_PX * max(1, len(shown)) + 24
    return Chart(WIDTH_PX, height, tuple(rows.items()), bars, ticks)


def _serving_periods(
    history: Sequence[RoleChangeResponse], now: datetime
) -> list[tuple[str, datetime, datetime]]:
    """Return the periods: address, start and end.

    The period of a lost node ends when the next one starts.
    """
    periods: list[tuple[str, datetime, datetime]] = []
    serving: tuple[str, datetime] | None = None
    for record in reversed(history):
        at, is_failover = record.time, record.after == Role.PRIMARY
        if serving and (is_failover or record.address == serving[0]):
            periods.append((*serving, at))
            serving = None
        if is_failover:
            serving = (record.address, at)
    if serving:
        periods.append((*serving, now))
    return periods


@dataclass(frozen=True, slots=True)
class PhaseBar:
    """A phase of a failover as a bar; *x* and *width* in pixels."""

    name: str
    x: float
    width: float
    tooltip: str


@dataclass(frozen=True, slots=True)
class Marker:
    """A moment after the ports were open; *x* in pixels."""

    x: float
    tooltip: str


@dataclass(frozen=True, slots=True)
class Timeline:
    """The timeline of one failover; *title* has its node, time and duration."""

    title: str
    phases: tuple[PhaseBar, ...]
    markers: tuple[Marker, ...]


def timelines(history: Sequence[RoleChangeResponse]) -> tuple[Timeline, ...]:
    """Draw the latest failovers of *history*, newest first."""
    failovers = [
        r for r in history if r.after == Role.PRIMARY and sum(r.phases.values()) > 0
    ]
    return tuple(draw_failover(record) for record in failovers[:MAX_TIMELINES])


def draw_failover(record: RoleChangeResponse) -> Timeline:
    """Draw one failover."""
    took = sum(record.phases.values())
    reconnects = _reconnects(record, took)
    scale = WIDTH_PX / max([took, *(seconds for seconds, _ in reconnects)])
    phases = []
    at = 0.0
    for name, seconds in sort_phases(record.phases).items():
        tooltip = f"{PHASE_NAMES.get(name, name)} after {seconds:.2f} s"
        width = max(1.0, round(seconds * scale, 1))
        phases.append(PhaseBar(name, round(at * scale, 1), width, tooltip))
        at += seconds
    markers = [
        Marker(round(seconds * scale, 1), tooltip) for seconds, tooltip in reconnects
    ]
    when = f"{record.time:%Y-%m-%d %H:%M:%S} UTC"
    title = f"{record.address} took over in {took:.2f} s ({when})"
    return Timeline(title, tuple(phases), tuple(markers))


def sort_phases(phases: Mapping[str, float]) -> dict[str, float]:
    """Return the phases in the order in which they happen; JSON has no order."""
    known = [name for name in PHASE_NAMES if name in phases]
    return {
        name: phases[name] for name in [*known, *(phases.keys() - PHASE_NAMES.keys())]
    }


def _reconnects(record: RoleChangeResponse, took: float) -> list[tuple[float, str]]:
    """Return the first and the last reconnect of a Defender: seconds, and a text."""
    reconnects = record.defenders
    if reconnects is None or not reconnects.count:
        return []
    found = []
    times = (("first", reconnects.first), ("last", reconnects.last))
    for which, back in ((name, time) for name, time in times if time is not None):
        seconds = took + max(0.0, (back - record.time).total_seconds())
        text = f"{which} of {reconnects.count} Defenders back after {seconds:.2f} s"
        found.append((seconds, text))
    return found


def latest_failover(history: Sequence[RoleChangeResponse]) -> RoleChangeResponse | None:
    """Return the record of the latest change of role to primary, if any."""
    return next((record for record in history if record.after == Role.PRIMARY), None)


def failover_sentence(history: Sequence[RoleChangeResponse]) -> str | None:
    """Return the sentence on the latest failover; None if only one node ever served."""
    failovers = [r for r in history if r.after == Role.PRIMARY][:2]
    if len(failovers) < 2:
        return None
    new, old = failovers
    at = f"{new.time:%H:%M:%S UTC on %Y-%m-%d}"
    same = new.address == old.address
    what = "serves again since" if same else f"took over from {old.address} at"
    return f"{new.address} {what} {at}: {new.reason}. {SESSION_NOTE}"
