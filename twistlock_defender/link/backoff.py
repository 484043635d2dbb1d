"""Decides when to connect again, to which address, and how long to wait; pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from twistlock_console.protocol import Goodbye

INITIAL_PAUSE_S = (0.1, 0.5)
MAX_PAUSE_S = 15.0
STABLE_CONNECTION_S = 10.0
GROWTH = 1.5
MIN_SILENCE_TIMEOUT_S = 3.0
MAX_SILENCE_TIMEOUT_S = 30.0
SECOND_ATTEMPT_AFTER_S = 10.0
MAX_CONCURRENT_ATTEMPTS = 2


@dataclass(frozen=True, slots=True, order=True)
class Target:
    """A Console's address, as found for *name*, which its certificate must show."""

    address: str
    port: int
    name: str

    def __str__(self) -> str:
        host = f"[{self.address}]" if ":" in self.address else self.address
        found = "" if self.name == self.address else f" ({self.name})"
        return f"{host}:{self.port}{found}"


def backoff_s(failed_attempts: int, chance: float) -> float:
    """Return the seconds before attempt *round_*; *chance* in [0, 1) spreads agents.

    It grows slowly at first, so that a failover of some seconds is not slept through.
    """
    shortest, longest = (
        edge * GROWTH ** min(failed_attempts, 20) for edge in INITIAL_PAUSE_S
    )
    longest = min(longest, MAX_PAUSE_S)
    shortest = min(shortest, MAX_PAUSE_S / 2)
    return shortest + chance * (longest - shortest)


def count_failures(before: int, lasted: float, *, later_epoch: bool) -> int:
    """Return the failures in a row, after a connection that *lasted* some seconds.

    *before* is their number until then. The first connection under a later epoch is no
    failure: of several failovers in a row, each is answered as fast as the first.
    """
    return 0 if later_epoch or lasted > STABLE_CONNECTION_S else before + 1


def goodbye_pause_s(goodbye: Goodbye, chance: float) -> float:
    """Return the seconds to stay away after *goodbye*."""
    return (goodbye.retry_after_ms + chance * goodbye.spread_ms) / 1000


def silence_timeout_s(false_timeouts: int) -> float:
    """Return the seconds of silence after which the Console is considered gone.

    *mistaken* times before it was there after all: it was slow, and leaving it would
    make it slower. So each mistake doubles the patience.
    """
    return float(
        min(MIN_SILENCE_TIMEOUT_S * 2 ** min(false_timeouts, 10), MAX_SILENCE_TIMEOUT_S)
    )


def shuffle(targets: Sequence[Target], chances: Sequence[float]) -> list[Target]:
    """Return the targets in the order of their *chances*, so that load is spread."""
    return [target for _, target in sorted(zip(chances, targets, strict=True))]


def targets_to_try(
    targets: Sequence[Target], ages: Mapping[Target, Sequence[float]]
) -> list[Target]:
    """Return those to try now; *ages* are the seconds that present tries have lasted.

    A busy Console takes its time: trying anew at once would make it busier. But a
    connection to a host that has died since would wait for long, so that after a
    while a second one is tried beside it.
    """
    return [
        target
        for target in targets
        if len(ages.get(target, ())) < MAX_CONCURRENT_ATTEMPTS
        and all(age >= SECOND_ATTEMPT_AFTER_S for age in ages.get(target, ()))
    ]
