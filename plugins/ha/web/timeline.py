"""Pictures of the history of role changes: who served when, and each takeover.

Pure. Records of the history become numbers for an SVG, and a sentence for the banner.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from plugins.ha.messages import RoleChangeAnswer
from twistlock_console.events.types import Role

WIDTH = 900
ROW = 34
LEFT = 130
SHORTEST = timedelta(minutes=5)
SHOWN = 3
#: What each phase is, in words; the time is that from the one before.
WORDS = {
    "noticed": "noticed that the primary is lost",
    "elected": "elected",
    "writable": "database writable",
    "lease": "lease held",
    "ports": "ports open",
}
REASSURANCE = "You stay logged in, and what was saved is kept"


@dataclass(frozen=True, slots=True)
class ServingBar:
    """A stretch of time in which one node served; *x* and *width* in pixels."""

    address: str
    x: float
    y: int
    width: float
    tooltip: str


@dataclass(frozen=True, slots=True)
class Chart:
    """Bars in one row a node; *ticks* are times with their place."""

    width: int
    height: int
    rows: tuple[tuple[str, int], ...]
    bars: tuple[ServingBar, ...]
    ticks: tuple[tuple[float, str], ...]


def draw_chart(
    addresses: Sequence[str], history: Sequence[RoleChangeAnswer], now: datetime
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
        ServingBar(
            address=address,
            x=place(begin),
            y=rows[address],
            width=max(2.0, round(place(end) - place(begin), 1)),
            tooltip=f"{address} served from {begin:%H:%M:%S} to {end:%H:%M:%S} UTC",
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
    history: Sequence[RoleChangeAnswer], now: datetime
) -> list[tuple[str, datetime, datetime]]:
    """Return who served from when to when; a lost node ends where the next begins."""
    stretches: list[tuple[str, datetime, datetime]] = []
    serving: tuple[str, datetime] | None = None
    for record in reversed(history):
        at, is_takeover = record.time, record.after == Role.PRIMARY
        if serving and (is_takeover or record.address == serving[0]):
            stretches.append((*serving, at))
            serving = None
        if is_takeover:
            serving = (record.address, at)
    if serving:
        stretches.append((*serving, now))
    return stretches


@dataclass(frozen=True, slots=True)
class PhaseBar:
    """A phase as a bar; *x* and *width* in pixels. *tooltip* says what it is."""

    name: str
    x: float
    width: float
    tooltip: str


@dataclass(frozen=True, slots=True)
class Marker:
    """A moment after the ports were open."""

    x: float
    tooltip: str


@dataclass(frozen=True, slots=True)
class Timeline:
    """One takeover: *title* says whose, when and how long it took."""

    title: str
    parts: tuple[PhaseBar, ...]
    marks: tuple[Marker, ...]


def timelines(history: Sequence[RoleChangeAnswer]) -> tuple[Timeline, ...]:
    """Draw the latest takeovers of *history*, newest first as it is."""
    takeovers = [
        r for r in history if r.after == Role.PRIMARY and sum(r.phases.values()) > 0
    ]
    return tuple(draw_takeover(record) for record in takeovers[:SHOWN])


def draw_takeover(record: RoleChangeAnswer) -> Timeline:
    """Draw one takeover."""
    took = sum(record.phases.values())
    returns = _returns(record, took)
    scale = WIDTH / max([took, *(seconds for seconds, _ in returns)])
    parts = []
    at = 0.0
    for name, seconds in in_order(record.phases).items():
        tooltip = f"{WORDS.get(name, name)} after {seconds:.2f} s"
        width = max(1.0, round(seconds * scale, 1))
        parts.append(PhaseBar(name, round(at * scale, 1), width, tooltip))
        at += seconds
    marks = [Marker(round(seconds * scale, 1), tooltip) for seconds, tooltip in returns]
    when = f"{record.time:%Y-%m-%d %H:%M:%S} UTC"
    title = f"{record.address} took over in {took:.2f} s ({when})"
    return Timeline(title, tuple(parts), tuple(marks))


def in_order(phases: Mapping[str, float]) -> dict[str, float]:
    """Put the phases in the order they happen: JSON has none."""
    known = [name for name in WORDS if name in phases]
    return {name: phases[name] for name in [*known, *(phases.keys() - WORDS.keys())]}


def _returns(record: RoleChangeAnswer, took: float) -> list[tuple[float, str]]:
    """Return when the first and the last Defender were back: seconds, and in words."""
    returns = record.defenders
    if returns is None or not returns.count:
        return []
    found = []
    times = (("first", returns.first), ("last", returns.last))
    for which, back in ((name, time) for name, time in times if time is not None):
        seconds = took + max(0.0, (back - record.time).total_seconds())
        text = f"{which} of {returns.count} Defenders back after {seconds:.2f} s"
        found.append((seconds, text))
    return found


def latest_takeover(history: Sequence[RoleChangeAnswer]) -> RoleChangeAnswer | None:
    """Give the record of the latest change of role to primary."""
    return next((record for record in history if record.after == Role.PRIMARY), None)


def takeover_sentence(history: Sequence[RoleChangeAnswer]) -> str | None:
    """Say what the latest takeover was; None when there was none before it."""
    taken = [r for r in history if r.after == Role.PRIMARY][:2]
    if len(taken) < 2:
        return None
    new, old = taken
    at = f"{new.time:%H:%M:%S UTC on %Y-%m-%d}"
    same = new.address == old.address
    what = "serves again since" if same else f"took over from {old.address} at"
    return f"{new.address} {what} {at}: {new.reason}. {REASSURANCE}"
