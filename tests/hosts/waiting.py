"""Waiting for a thing with a deadline, and saying what did not come."""

import time
from collections.abc import Callable
from typing import TypeVar

from twistlock_console.clock import SECOND, boottime_ns

T = TypeVar("T")


def wait_for(
    look: Callable[[], T | None], seconds: float, what: str, every: float = 0.02
) -> T:
    """Look until there is something true; raises TimeoutError that names *what*."""
    deadline = boottime_ns() + round(seconds * SECOND)
    while True:
        if found := look():
            return found
        if boottime_ns() > deadline:
            raise TimeoutError(f"not within {seconds:g} s: {what}")
        time.sleep(every)
