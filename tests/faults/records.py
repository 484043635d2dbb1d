"""What probers and writers note down: one JSON object a line, times on one clock.

Pure but for reading a file. All hosts of a laboratory share one boot-time clock, so
times taken on different hosts can be compared, to the nanosecond.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any


class Outcome(StrEnum):
    """What the writer knows of a write that it sent."""

    STORED = "stored"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Answer:
    """A node answered as one that serves: a request sent then, received then.

    *way* is how it was asked, *epoch* what a websocket's hello said, 0 elsewhere.
    """

    way: str
    address: str
    sent: int
    received: int
    epoch: int = 0


@dataclass(frozen=True, slots=True)
class Write:
    """A write numbered *op*; sent once, to *address*, and what came of it."""

    op: int
    address: str
    sent: int
    ended: int
    outcome: Outcome
    status: int = 0


def answers(path: Path) -> list[Answer]:
    """All answers that a prober noted at *path*."""
    return [Answer(**line) for line in _lines(path)]


def writes(path: Path) -> list[Write]:
    """All writes that a writer noted at *path*."""
    return [
        Write(**{**line, "outcome": Outcome(line["outcome"])}) for line in _lines(path)
    ]


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    if not path.exists():
        return
    for line in path.read_text().splitlines(keepends=True):
        if line.endswith("\n"):
            yield json.loads(line)
