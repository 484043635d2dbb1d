"""What honest clients note beside an attack: one JSON object a line."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Answer:
    """A request of one *kind*, sent then; *outcome* is its status, or what failed."""

    kind: str
    sent: int
    took_ms: int
    outcome: str


@dataclass(frozen=True, slots=True)
class Cut:
    """A session *what* that ended though its client did not end it."""

    what: str
    at: int
    reason: str


@dataclass(frozen=True, slots=True)
class Closing:
    """A port that refused, though it had accepted connections before."""

    address: str
    port: int
    at: int


Record = Answer | Cut | Closing
KINDS: dict[str, type[Record]] = {
    kind.__name__: kind for kind in (Answer, Cut, Closing)
}


def read_records(path: Path) -> Iterator[Record]:
    """Read all that was noted at *path*; a line that is being written is left out."""
    if not path.exists():
        return
    for line in path.read_text().splitlines(keepends=True):
        if line.endswith("\n"):
            fields = json.loads(line)
            yield KINDS[fields.pop("record")](**fields)
