"""Choose how long the lease lasts, from how long its renewals take.

Pure. A short lease makes a failover quick: the next holder waits for its end. A long
one survives minutes in which the host is busy. The holder measures each renewal and
chooses the time to live (ttl) that the next one stores. Times are nanoseconds.
"""

from dataclasses import dataclass
from typing import Self

SECOND = 1_000_000_000
#: Renewals begin after a sixth of the ttl and must end within 0.8 of it. Four times
#: the slowest leaves room for one that takes twice as long as any before.
MARGIN = 4
#: Each step towards the floor lowers the ttl to this part of it.
LOWERED_TO = 0.75


@dataclass(frozen=True, slots=True)
class LeaseBounds:
    """Between which times a lease may last, and how it gets shorter again.

    Attributes:
        floor: The shortest ttl.
        start: The ttl that a node begins with.
        ceiling: The longest ttl.
        calm: For how long a ttl is kept after the last renewal that needed it.
        lowering_interval: Time between two steps afterwards. Each lowers the ttl by a
            quarter: from 20 s to 0.8 s within two minutes.
    """

    floor: int
    start: int
    ceiling: int
    calm: int = 60 * SECOND
    lowering_interval: int = 10 * SECOND

    @classmethod
    def fixed(cls, ttl: int) -> Self:
        """Return bounds that allow *ttl* alone."""
        return cls(ttl, ttl, ttl)

    def bounded(self, ttl: int) -> int:
        """Return the allowed ttl that is nearest to *ttl*."""
        return min(max(ttl, self.floor), self.ceiling)


@dataclass(frozen=True, slots=True)
class LeaseDuration:
    """The *ttl* that the next write of the lease stores, and the *reason* for it.

    *needed_at* is when a renewal last took so long that it needed this ttl.
    """

    ttl: int
    reason: str
    needed_at: int = 0


def after_renewal(
    current: LeaseDuration, took: int, now: int, bounds: LeaseBounds
) -> LeaseDuration:
    """Return the duration that follows from a renewal which *took* so long.

    Args:
        current: What the holder chose so far.
        took: From when the renewal was due until the holder knew its outcome, also
            where that is a failure: waiting for the processor counts.
        now: When it knew.
        bounds: The limits from the settings.

    Returns:
        A longer ttl at once, a shorter one only after a time of calm.
    """
    needed = bounds.bounded(MARGIN * took)
    if needed > current.ttl:
        return LeaseDuration(needed, f"a renewal took {_seconds(took)}", now)
    lowered = max(int(current.ttl * LOWERED_TO), bounds.floor)
    if needed > lowered:
        return LeaseDuration(current.ttl, f"a renewal took {_seconds(took)}", now)
    if lowered == current.ttl or now < current.needed_at + bounds.calm:
        return current
    reason = f"renewals have been quick for {bounds.calm // SECOND} s"
    needed_at = now - bounds.calm + bounds.lowering_interval
    return LeaseDuration(lowered, reason, needed_at)


def _seconds(duration: int) -> str:
    return f"{duration / SECOND:.2f} s"
