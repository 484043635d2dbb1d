"""Return the times of an event: on its host, and of its receipt. Pure.

The clock of a host may be wrong. So lists are ordered by the time of receipt, and a
host time after the receipt is not shown as the time of the event.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta

#: Clocks that are synchronized by the network differ by less.
TOLERANCE = timedelta(seconds=60)


def time_on_host(document: Mapping[str, object]) -> datetime | None:
    """Return the time on the host, or of receipt if the host's clock is ahead."""
    ahead = clock_ahead_seconds(document)
    return _moment(document, "time") if ahead is None else _moment(document, "received")


def time_of_receipt(document: Mapping[str, object]) -> datetime | None:
    """Return the time of receipt, or the host's time if that was not stored."""
    return _moment(document, "received") or _moment(document, "time")


def clock_ahead_seconds(document: Mapping[str, object]) -> int | None:
    """Return the seconds by which the host's clock was ahead; None if it was not."""
    time, received = _moment(document, "time"), _moment(document, "received")
    if time is None or received is None or time <= received + TOLERANCE:
        return None
    return int((time - received).total_seconds())


def _moment(document: Mapping[str, object], name: str) -> datetime | None:
    value = document.get(name)
    return value if isinstance(value, datetime) else None
