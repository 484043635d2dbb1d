"""The picture of one takeover: its phases one after the other, and who came back.

Pure: from a record of the history to places on a line, as numbers for an SVG.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

WIDTH = 900
SHOWN = 3
#: What each phase is, in words; the time is that from the one before.
WORDS = {
    "noticed": "noticed that the primary is lost",
    "elected": "elected",
    "writable": "database writable",
    "lease": "lease held",
    "ports": "ports open",
}


@dataclass(frozen=True, slots=True)
class Part:
    """A phase as a bar; *x* and *width* in pixels. *told* is its caption."""

    name: str
    x: float
    width: float
    told: str


@dataclass(frozen=True, slots=True)
class Mark:
    """A moment after the ports were open."""

    x: float
    told: str


@dataclass(frozen=True, slots=True)
class Timeline:
    """One takeover: *title* says whose, when and how long it took."""

    title: str
    parts: tuple[Part, ...]
    marks: tuple[Mark, ...]


def timelines(history: Sequence[Mapping[str, Any]]) -> tuple[Timeline, ...]:
    """Draw the latest takeovers of *history*, newest first as it is."""
    takeovers = [r for r in history if r["to"] == "primary" and sum(_phases(r))]
    return tuple(draw(record) for record in takeovers[:SHOWN])


def draw(record: Mapping[str, Any]) -> Timeline:
    """Draw one takeover."""
    took = sum(_phases(record))
    returns = _returns(record, took)
    scale = WIDTH / max([took, *(seconds for seconds, _ in returns)])
    parts = []
    at = 0.0
    for name, seconds in in_order(record["phases"]).items():
        told = f"{WORDS.get(name, name)} after {seconds:.2f} s"
        width = max(1.0, round(seconds * scale, 1))
        parts.append(Part(name, round(at * scale, 1), width, told))
        at += seconds
    marks = [Mark(round(seconds * scale, 1), told) for seconds, told in returns]
    when = datetime.fromisoformat(record["time"])
    title = (
        f"{record['address']} took over in {took:.2f} s ({when:%Y-%m-%d %H:%M:%S} UTC)"
    )
    return Timeline(title, tuple(parts), tuple(marks))


def in_order(phases: Mapping[str, float]) -> dict[str, float]:
    """The phases in the order they happen: JSON has none."""
    known = [name for name in WORDS if name in phases]
    return {name: phases[name] for name in [*known, *(phases.keys() - WORDS.keys())]}


def _phases(record: Mapping[str, Any]) -> list[float]:
    return [float(seconds) for seconds in record["phases"].values()]


def _returns(record: Mapping[str, Any], took: float) -> list[tuple[float, str]]:
    """When the first and the last Defender were back: seconds, and in words."""
    returns = record.get("defenders")
    if not returns or not returns["count"]:
        return []
    opened = datetime.fromisoformat(record["time"])
    found = []
    for which in ("first", "last"):
        after = (datetime.fromisoformat(returns[which]) - opened).total_seconds()
        seconds = took + max(0.0, after)
        words = f"{which} of {returns['count']} Defenders back after {seconds:.2f} s"
        found.append((seconds, words))
    return found
