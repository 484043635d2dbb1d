"""The ttl of the lease follows how long renewals take: up at once, down slowly."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plugins.ha.consensus import transitions
from plugins.ha.consensus.lease import HeldLease
from plugins.ha.consensus.lease_duration import (
    LeaseBounds,
    LeaseDuration,
    after_renewal,
)
from plugins.ha.consensus.state import RenewLease
from tests.ha.observations import ME, MS, NOW, SECOND, holder, lease, standby

BOUNDS = LeaseBounds(floor=800 * MS, start=1800 * MS, ceiling=20 * SECOND)
AGO = NOW - 30 * SECOND
LONG_AGO = NOW - 60 * SECOND


@pytest.mark.parametrize(
    ("ttl", "needed_at", "took", "expected"),
    [
        pytest.param(1800, AGO, 451, 1804, id="up-at-once"),
        pytest.param(1800, AGO, 30_000, 20_000, id="up-to-the-ceiling"),
        pytest.param(1800, AGO, 450, 1800, id="just-enough"),
        pytest.param(1800, AGO, 5, 1800, id="quick-for-half-a-minute"),
        pytest.param(1800, LONG_AGO, 5, 1350, id="quick-for-a-minute"),
        pytest.param(1800, LONG_AGO, 338, 1800, id="a-lower-one-would-not-do"),
        pytest.param(1000, LONG_AGO, 5, 800, id="down-to-the-floor"),
        pytest.param(800, LONG_AGO, 5, 800, id="at-the-floor"),
    ],
)
def test_the_ttl_follows_the_slowest_renewals(
    ttl: int, needed_at: int, took: int, expected: int
) -> None:
    """It is four times what a renewal took, within bounds; it falls after a minute."""
    current = LeaseDuration(ttl * MS, "before", needed_at)

    found = after_renewal(current, took * MS, NOW, BOUNDS)

    assert found.ttl == expected * MS


def test_a_change_says_why() -> None:
    """The reason names the renewal, or the calm since."""
    current = LeaseDuration(1800 * MS, "before", LONG_AGO)

    assert after_renewal(current, SECOND, NOW, BOUNDS).reason == "a renewal took 1.00 s"
    assert (
        after_renewal(current, MS, NOW, BOUNDS).reason
        == "renewals have been quick for 60 s"
    )


def test_a_slow_renewal_begins_the_calm_again() -> None:
    """One that needs the ttl of now keeps it for another minute."""
    current = LeaseDuration(1800 * MS, "before", LONG_AGO)

    kept = after_renewal(current, 440 * MS, NOW, BOUNDS)

    assert kept.needed_at == NOW
    assert after_renewal(kept, MS, NOW + 59 * SECOND, BOUNDS).ttl == 1800 * MS


def test_after_a_load_it_is_back_at_its_floor_within_five_minutes() -> None:
    """It leaves the ceiling after a minute, and then falls by quarters."""
    duration, now = LeaseDuration(20 * SECOND, "a load", NOW), NOW
    while duration.ttl > BOUNDS.floor:
        now += SECOND
        duration = after_renewal(duration, 5 * MS, now, BOUNDS)

    assert now - NOW < 300 * SECOND


@given(st.lists(st.integers(0, 40 * SECOND), max_size=50), st.integers(0, SECOND))
def test_it_stays_within_its_bounds(renewals: list[int], between: int) -> None:
    """Whatever renewals take; and four times the last one fits, up to the ceiling."""
    duration, now = LeaseDuration(BOUNDS.start, "start", NOW), NOW
    for took in renewals:
        now += took + between
        duration = after_renewal(duration, took, now, BOUNDS)
        assert BOUNDS.floor <= duration.ttl <= BOUNDS.ceiling
        assert duration.ttl >= min(4 * took, BOUNDS.ceiling)


def test_a_fixed_lease_never_changes() -> None:
    """Equal bounds leave nothing to choose."""
    fixed = LeaseBounds.fixed(1800 * MS)
    current = LeaseDuration(1800 * MS, "start", LONG_AGO)

    assert after_renewal(current, 9 * SECOND, NOW, fixed).ttl == 1800 * MS
    assert after_renewal(current, MS, NOW, fixed).ttl == 1800 * MS


def test_a_shorter_lease_binds_its_holder_before_it_is_stored() -> None:
    """Its acknowledgement may be lost: others then wait for the shorter time alone."""
    held = HeldLease.acknowledged(lease(ME, ttl=10 * SECOND), NOW - SECOND)
    observation = holder(held_lease=held)

    begun = transitions.action_started(
        observation, RenewLease(held.document, SECOND), "due", NOW
    )

    assert held.deadline == NOW + 7 * SECOND
    assert begun.held_lease is not None
    assert begun.held_lease.deadline == NOW + 800 * MS


def test_a_longer_lease_counts_from_its_acknowledgement() -> None:
    """Until then the deadline of the shorter one holds."""
    observation = holder()
    held = observation.held_lease
    assert held is not None

    begun = transitions.action_started(
        observation, RenewLease(held.document, 10 * SECOND), "due", NOW
    )

    assert begun.held_lease == held


def test_a_renewal_counts_from_when_it_was_due() -> None:
    """A node that did not get the processor for a second needs a longer lease."""
    adaptive = replace(holder().timing, lease=BOUNDS)
    document = lease(ME, ttl=1800 * MS)
    held = HeldLease.acknowledged(document, NOW - 1300 * MS)
    observation = holder(timing=adaptive, held_lease=held)
    wanted = document.renewed(1800 * MS)

    seen = transitions.lease_acknowledged(observation, wanted, NOW - 5 * MS, NOW)
    failed = transitions.lease_write_failed(observation, NOW - 5 * MS, NOW)

    assert seen.next_ttl == failed.next_ttl == 4 * SECOND


def test_what_an_acquisition_takes_says_nothing() -> None:
    """There may have been no majority; a longer lease would not help."""
    adaptive = replace(standby().timing, lease=BOUNDS)
    observation = standby(timing=adaptive)

    seen = transitions.lease_write_failed(observation, NOW - 5 * SECOND, NOW)

    assert seen.next_ttl == BOUNDS.start


def test_the_next_holder_begins_with_the_last_ones_ttl() -> None:
    """What slows one host down often slows all of them down."""
    observation = standby(timing=replace(standby().timing, lease=BOUNDS))

    slow = transitions.lease_observed(observation, lease(seq=41, ttl=6 * SECOND), NOW)
    released = transitions.lease_observed(
        observation, lease(seq=41, ttl=6 * SECOND, released=True), NOW
    )

    assert slow.next_ttl == 6 * SECOND
    assert released.next_ttl == BOUNDS.start


def test_patience_grows_with_the_lease() -> None:
    """The silence before an election scales with the lease that is held."""
    observation = standby(timing=replace(standby().timing, lease=BOUNDS))

    slow = transitions.lease_observed(observation, lease(seq=41, ttl=18 * SECOND), NOW)

    assert slow.unreachable_after == 7 * SECOND
    assert replace(slow, observed_lease=None).unreachable_after == 700 * MS
