"""The right to serve, as child processes see it."""

import time
from collections.abc import Callable

from twistlock_console.system.serving_permit import FOREVER, Permit


def test_a_permit_is_born_revoked() -> None:
    """A node may not serve before it was told that it may."""
    permit = Permit()

    assert not permit.valid(0)
    assert permit.epoch == 0


def test_a_permit_holds_until_its_deadline_and_not_at_it() -> None:
    """The deadline itself is too late."""
    permit = Permit()
    permit.grant(3, 1000)

    assert [permit.valid(now) for now in (0, 999, 1000, 1001)] == [
        True,
        True,
        False,
        False,
    ]
    assert (permit.epoch, permit.deadline_ns) == (3, 1000)


def test_a_revoked_permit_keeps_its_epoch() -> None:
    """Revoking ends the right, not the memory of what was granted."""
    permit = Permit()
    permit.grant(3, FOREVER)

    permit.revoke()

    assert not permit.valid(0)
    assert permit.epoch == 3


def test_reading_a_permit_needs_no_other_process() -> None:
    """With every request and frame: it costs a few calls of a function.

    To ask another process would cost hundreds of them.
    """
    permit = Permit()
    permit.grant(1, FOREVER)

    assert shortest_ns(permit.valid) < 100 * shortest_ns(lambda _: True)


def shortest_ns(ask: Callable[[int], bool]) -> int:
    """Return what many calls took when nothing else came between."""
    found = []
    for _ in range(20):
        started = time.perf_counter_ns()
        for _ in range(1_000):
            ask(1)
        found.append(time.perf_counter_ns() - started)
    return min(found)
