"""Compute backoff, timeouts and the order of addresses for reconnecting. Pure."""

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
    """A Console's address, resolved from *name*, which its certificate must have."""

    address: str
    port: int
    name: str

    def __str__(self) -> str:
        host = f"[{self.address}]" if ":" in self.address else self.address
        found = "" if self.name == self.address else f" ({self.name})"
        return f"{host}:{self.port}{found}"


def backoff_s(failed_attempts: int, chance: float) -> float:
    """Return the seconds before the next attempt (exponential backoff with jitter).

    The backoff grows slowly at first, so that a Defender reconnects soon after a
    failover of some seconds.

    Args:
        failed_attempts: the number of failed attempts in a row.
        chance: a random number in [0, 1), which spreads the Defenders of a fleet.

    """
    shortest, longest = (
        edge * GROWTH ** min(failed_attempts, 20) for edge in INITIAL_PAUSE_S
    )
    longest = min(longest, MAX_PAUSE_S)
    shortest = min(shortest, MAX_PAUSE_S / 2)
    return shortest + chance * (longest - shortest)


def count_failures(before: int, lasted: float, *, later_epoch: bool) -> int:
    """Return the number of failures in a row after the end of a connection.

    The first connection under a later epoch is no failure, so that the Defender
    reconnects equally fast after each of several failovers.

    Args:
        before: the failures in a row before this connection.
        lasted: the seconds that the connection lasted.
        later_epoch: it was the first connection under a later epoch.

    """
    return 0 if later_epoch or lasted > STABLE_CONNECTION_S else before + 1


def goodbye_pause_s(goodbye: Goodbye, chance: float) -> float:
    """Return the seconds to wait before reconnecting after *goodbye*."""
    return (goodbye.retry_after_ms + chance * goodbye.spread_ms) / 1000


def silence_timeout_s(false_timeouts: int) -> float:
    """Return the seconds of silence after which the Console is considered failed.

    After *false_timeouts*, the same Console was reachable: it was slow, and
    reconnecting makes it slower. So each false timeout doubles the value.
    """
    return float(
        min(MIN_SILENCE_TIMEOUT_S * 2 ** min(false_timeouts, 10), MAX_SILENCE_TIMEOUT_S)
    )


def shuffle(targets: Sequence[Target], chances: Sequence[float]) -> list[Target]:
    """Return the targets in the order of their random *chances*, to spread load."""
    return [target for _, target in sorted(zip(chances, targets, strict=True))]


def targets_to_try(
    targets: Sequence[Target], ages: Mapping[Target, Sequence[float]]
) -> list[Target]:
    """Return the targets to try now; *ages* has the seconds of attempts under way.

    A busy Console answers slowly, and a second attempt at once would add load. But an
    attempt to a host that failed meanwhile waits for long, so a second attempt starts
    after SECOND_ATTEMPT_AFTER_S.
    """
    return [
        target
        for target in targets
        if len(ages.get(target, ())) < MAX_CONCURRENT_ATTEMPTS
        and all(age >= SECOND_ATTEMPT_AFTER_S for age in ages.get(target, ()))
    ]
