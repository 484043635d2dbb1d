"""A line of the benchmark's table, as a value."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from rich.console import Console
from rich.table import Table


@dataclass(frozen=True, slots=True)
class Goal:
    """What the median and the worst run may be at most."""

    median: float
    worst: float


@dataclass(frozen=True, slots=True)
class Row:
    """Measured *values* of one thing, and the same thing done the *baseline*'s way.

    *note* explains them, below the table.
    """

    name: str
    unit: str
    values: Sequence[float]
    baseline: Sequence[float] = ()
    goal: Goal | None = None
    note: str = ""

    @property
    def ratio(self) -> float | None:
        """How many times the baseline's median takes ours."""
        if not self.baseline or not self.values:
            return None
        return median(self.baseline) / max(median(self.values), 1e-9)

    @property
    def met(self) -> bool | None:
        """Whether the goal is met; None where there is none."""
        if self.goal is None:
            return None
        if not self.values:
            return False
        return (
            median(self.values) <= self.goal.median
            and max(self.values) <= self.goal.worst
        )

    def as_json(self) -> dict[str, Any]:
        """The row as build/bench.json keeps it."""
        return {
            "name": self.name,
            "unit": self.unit,
            "median": round(median(self.values), 4) if self.values else None,
            "worst": round(max(self.values), 4) if self.values else None,
            "runs": len(self.values),
            "baseline": round(median(self.baseline), 4) if self.baseline else None,
            "ratio": round(self.ratio, 2) if self.ratio else None,
            "goal": [self.goal.median, self.goal.worst] if self.goal else None,
            "met": self.met,
            "note": self.note,
        }


def show(rows: Sequence[Row]) -> None:
    """Print the rows as a table."""
    table = Table(
        "what", "unit", "median", "worst", "runs", "baseline", "ratio", "goal", "met"
    )
    for row in rows:
        told = row.as_json()
        goal = f"{row.goal.median:g} / {row.goal.worst:g}" if row.goal else ""
        met = {True: "yes", False: "NO", None: ""}[row.met]
        figures = [told[k] for k in ("median", "worst", "runs", "baseline", "ratio")]
        shown = ["" if figure is None else f"{figure:g}" for figure in figures]
        table.add_row(row.name, row.unit, *shown, goal, met)
    console = Console(width=120)
    console.print(table)
    for row in rows:
        if row.note:
            console.print(f"{row.name}: {row.note}", markup=False, soft_wrap=True)
