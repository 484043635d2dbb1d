"""The right to serve, as child processes see it."""

import time

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


def test_asking_a_permit_asks_nobody() -> None:
    """With every request and frame: 0.3 µs; another process would take 50 or more."""
    permit = Permit()
    permit.grant(1, FOREVER)
    rounds = 2_000
    best = FOREVER
    for _ in range(20):
        started = time.perf_counter_ns()
        for _ in range(rounds):
            permit.valid(1)
        best = min(best, time.perf_counter_ns() - started)

    assert best / rounds < 20_000
