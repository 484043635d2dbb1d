"""Tells of each failover where its time went, from what the new primary recorded."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from demo.events import Failover
from demo.writer import Resumed
from twistlock_console.common.clock import SECOND


@dataclass(frozen=True, slots=True)
class Times:
    """When it began and ended on the wall clock that all nodes of a demo share."""

    began: datetime
    ended: datetime


def record_of(
    history: list[Mapping[str, Any]], address: str, times: Times
) -> Mapping[str, Any] | None:
    """The record of *address* becoming primary within *times*, if it is there yet."""
    return next(
        (
            record
            for record in history
            if record["address"] == address
            and record["to"] == "primary"
            and times.began <= datetime.fromisoformat(record["time"]) <= times.ended
        ),
        None,
    )


def told(resumed: Resumed, record: Mapping[str, Any] | None, times: Times) -> Failover:
    """The failover with its phases: those on record, and what lies around them."""
    seconds = (resumed.ended - resumed.began) / SECOND
    phases: dict[str, float] = {}
    if record is not None:
        recorded = {name: float(took) for name, took in record["phases"].items()}
        # The product begins with the last good answer, we with the fault.
        recorded.pop("noticed", None)
        opened = datetime.fromisoformat(record["time"])
        first_write = max(0.0, (times.ended - opened).total_seconds())
        noticed = max(0.0, seconds - sum(recorded.values()) - first_write)
        phases = {"noticed": noticed, **recorded, "firstWrite": first_write}
    return Failover(
        before=resumed.before,
        after=resumed.after,
        seconds=round(seconds, 3),
        lost=resumed.lost,
        reason=str(record["reason"]) if record else "",
        phases={name: round(took, 3) for name, took in phases.items()},
    )
