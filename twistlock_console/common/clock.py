"""Read the clock that all deadlines use.

CLOCK_BOOTTIME goes on while the machine sleeps and never steps, so a frozen or
resumed host finds its deadlines passed. It is never compared between two hosts.
"""

import time

SECOND = 1_000_000_000
MILLISECOND = 1_000_000


def boottime_ns() -> int:
    """Return the nanoseconds since this host booted, sleep included."""
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)
