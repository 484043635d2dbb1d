"""How far a long piece of work is, and the pauses it makes for others."""

import time
from collections.abc import Callable
from dataclasses import dataclass

from twistlock_console.common.clock import SECOND, boottime_ns

EVERY_SECONDS = 0.3
#: The part of the time in which the work rests, so that Defenders come first.
REST = 0.05


@dataclass(frozen=True, slots=True)
class Progress:
    """A *phase* of the work, with the bytes done of those there are."""

    phase: str
    done: int
    total: int


Tell = Callable[[Progress], object]


def tell_nobody(_progress: Progress) -> None:
    """Take progress that nobody wants to know."""


class Meter:
    """Counts the bytes of one *phase*, tells of them now and then, and rests."""

    def __init__(self, phase: str, total: int, tell: Tell) -> None:
        self._phase = phase
        self._total = total
        self._tell = tell
        self._done = 0
        self._told = 0
        self._since = boottime_ns()
        self._tell(Progress(phase, 0, total))

    def add(self, size: int) -> None:
        """Count *size* more bytes, and rest for a part of the time they took."""
        self._done += size
        now = boottime_ns()
        if now - self._told > EVERY_SECONDS * SECOND:
            self._told = now
            total = max(self._total, self._done)
            self._tell(Progress(self._phase, self._done, total))
        time.sleep(REST * (now - self._since) / SECOND)
        self._since = boottime_ns()
