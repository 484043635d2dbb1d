"""When a finding happened by its host's clock, and when the Console got it. Pure.

The clock of a host may be anywhere. What is listed is ordered by the time of receipt,
and a time that had not come by then is not shown as if it had.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta

#: Clocks that are set by the network differ by less.
TOLERANCE = timedelta(seconds=60)


def time_on_host(document: Mapping[str, object]) -> datetime | None:
    """Return the time on the host; that of receipt where the host's clock is ahead."""
    ahead = clock_ahead_seconds(document)
    return _moment(document, "time") if ahead is None else _moment(document, "received")


def time_of_receipt(document: Mapping[str, object]) -> datetime | None:
    """Return when the Console got it; the host's time where that was not stored."""
    return _moment(document, "received") or _moment(document, "time")


def clock_ahead_seconds(document: Mapping[str, object]) -> int | None:
    """Return by how much the host's clock was ahead; None if that is in order."""
    time, received = _moment(document, "time"), _moment(document, "received")
    if time is None or received is None or time <= received + TOLERANCE:
        return None
    return int((time - received).total_seconds())


def _moment(document: Mapping[str, object], name: str) -> datetime | None:
    value = document.get(name)
    return value if isinstance(value, datetime) else None
