"""Waiting for a thing with a deadline, and saying what did not come."""

import time
from collections.abc import Callable
from typing import TypeVar

from tests.hosts.pace import measure_slowness
from twistlock_console.common.clock import SECOND, boottime_ns

FIRST_PAUSE = 0.01
MAX_EXTENSION_S = 60
"""A wait that is in vain has an end on a busy machine too."""
T = TypeVar("T")


def wait_for(
    look: Callable[[], T | None], seconds: float, what: str, every: float = 0.3
) -> T:
    """Look until there is something true; raises TimeoutError that names *what*.

    Looks often at first, and at last once in *every* seconds: a look may cost much.
    The seconds are those of an idle machine; a slow one is measured, and waits longer.
    """
    began = boottime_ns()
    pause, allowed = FIRST_PAUSE, seconds
    while True:
        waited = (boottime_ns() - began) / SECOND
        if found := look():
            return found
        if waited > seconds:
            extension = seconds * (measure_slowness() - 1)
            allowed = max(allowed, seconds + min(extension, MAX_EXTENSION_S))
        if waited > allowed:
            raise TimeoutError(f"not within {allowed:g} s: {what}")
        time.sleep(min(pause, every))
        pause *= 1.5


def eventually(look: Callable[[], object], seconds: float = 20) -> bool:
    """Whether *look* gives something true within *seconds*; looks at least at 50 Hz."""
    try:
        wait_for(look, seconds, "what a test looks for", every=0.02)
    except TimeoutError:
        return False
    return True
