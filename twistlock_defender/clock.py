"""The Defender's two clocks: one for deadlines, one for what people read."""

import time
from datetime import UTC, datetime


def boottime() -> float:
    """Seconds since this host booted, sleep included; it never steps."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def utc_now() -> datetime:
    """The wall clock, which may step at any moment, to the millisecond."""
    now = datetime.now(UTC)
    return now.replace(microsecond=now.microsecond // 1000 * 1000)


def text(moment: datetime) -> str:
    """*moment* as RFC 3339 in UTC with milliseconds."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds")[:-6] + "Z"
