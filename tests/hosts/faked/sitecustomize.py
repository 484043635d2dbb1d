"""For programs under libfaketime: a `time.sleep` that it does not break.

Python sleeps with clock_nanosleep(2) until a moment of the monotonic clock, which
libfaketime 0.9.10 answers with EINVAL when it is told to leave that clock alone.
"""

import select
import time
from typing import SupportsIndex


def _sleep(seconds: SupportsIndex | float, /) -> None:
    select.select([], [], [], float(seconds))


time.sleep = _sleep
