"""Read the boot-time clock for deadlines and the wall clock for display."""

import time
from dataclasses import dataclass
from datetime import UTC, datetime

MIN_JUMP_S = 5.0


def boottime() -> float:
    """Return the seconds since this host booted, sleep included; it never steps."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def utc_now() -> datetime:
    """Return the wall-clock time, which may step, to the millisecond."""
    now = datetime.now(UTC)
    return now.replace(microsecond=now.microsecond // 1000 * 1000)


@dataclass(frozen=True, slots=True)
class ClockJump:
    """A step of the wall clock: a *sentence* about it, and its *direction*."""

    sentence: str
    direction: str


class ClockJumpDetector:
    """Detects steps of the wall clock against the boot-time clock."""

    def __init__(self) -> None:
        self._offset = time.time() - boottime()

    def find_jump(self) -> ClockJump | None:
        """Return the step of the wall clock since the last call; None without one."""
        before, self._offset = self._offset, time.time() - boottime()
        seconds = self._offset - before
        if abs(seconds) < MIN_JUMP_S:
            return None
        direction = "forward" if seconds > 0 else "back"
        return ClockJump(
            f"at {utc_now():%Y-%m-%d %H:%M:%S} UTC this host's clock jumped "
            f"{abs(seconds):.0f} s {direction}; the times of findings before and after "
            "cannot be compared",
            direction,
        )
