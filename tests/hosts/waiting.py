"""Waiting for a thing with a deadline, and saying what did not come."""

import time
from collections.abc import Callable
from typing import TypeVar

from twistlock_console.common.clock import SECOND, boottime_ns

FIRST_PAUSE = 0.01
T = TypeVar("T")


def wait_for(
    look: Callable[[], T | None], seconds: float, what: str, every: float = 0.3
) -> T:
    """Look until there is something true; raises TimeoutError that names *what*.

    Looks often at first, and at last once in *every* seconds: a look may cost much.
    """
    deadline = boottime_ns() + round(seconds * SECOND)
    pause = FIRST_PAUSE
    while True:
        if found := look():
            return found
        if boottime_ns() > deadline:
            raise TimeoutError(f"not within {seconds:g} s: {what}")
        time.sleep(min(pause, every))
        pause *= 1.5


def eventually(look: Callable[[], object], seconds: float = 20) -> bool:
    """Whether *look* gives something true within *seconds*; looks at least at 50 Hz."""
    try:
        wait_for(look, seconds, "what a test looks for", every=0.02)
    except TimeoutError:
        return False
    return True
