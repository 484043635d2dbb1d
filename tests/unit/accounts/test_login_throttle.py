"""Rules of the slow-down after failed logins."""

from datetime import UTC, datetime, timedelta
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from twistlock_console.accounts.login_throttle import (
    FREE_FAILURES,
    LOCK_DURATION,
    LOCK_THRESHOLDS,
    Failures,
    Origin,
    Scope,
    add_failure,
    network_of,
    wait_seconds,
)

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
Counts = dict[str, Failures]


def wait(counts: Counts, origin: Origin, now: datetime, *, known: bool) -> int:
    """How long *origin* must wait."""
    keys = origin.keys(known=known)
    return max(wait_seconds(counts.get(key), now) for key in keys)


def fail(counts: Counts, origin: Origin, now: datetime, *, known: bool) -> None:
    """Count a failure of *origin*, unless it comes too early."""
    if wait(counts, origin, now, known=known):
        return
    for key, scope in origin.keys(known=known).items():
        counts[key] = add_failure(counts.get(key), scope, now)


@pytest.mark.parametrize(
    ("scope", "waits"),
    [
        (Scope.PAIR, {5: 1, 6: 2, 7: 4, 8: 8, 9: 16, 10: 30, 19: 30, 20: 900, 21: 900}),
        (Scope.ADDRESS, {20: 1, 21: 2, 25: 30, 99: 30, 100: 900}),
        (Scope.ACCOUNT, {50: 1, 51: 2, 55: 30, 100: 30, 10_000: 30}),
    ],
)
def test_the_wait_doubles_after_the_free_failures(
    scope: Scope, waits: dict[int, int]
) -> None:
    """1, 2, 4, 8, 16 and 30 seconds; then a lock, but never for a whole account."""
    seen = None
    counted = {}
    for number in range(1, max(waits) + 1):
        seen = add_failure(seen, scope, NOW)
        counted[number] = wait_seconds(seen, NOW)

    assert {number: counted[number] for number in waits} == waits
    assert not any(counted[number] for number in range(1, FREE_FAILURES[scope]))


def test_wider_counts_have_more_patience() -> None:
    """Many people may share the address of a load balancer."""
    assert (
        FREE_FAILURES[Scope.ACCOUNT]
        > FREE_FAILURES[Scope.ADDRESS]
        > FREE_FAILURES[Scope.PAIR]
    )
    assert Scope.ACCOUNT not in LOCK_THRESHOLDS


@pytest.mark.parametrize(
    ("until", "seconds"),
    [
        pytest.param(timedelta(0), 0, id="now"),
        pytest.param(timedelta(seconds=-5), 0, id="past"),
        pytest.param(timedelta(milliseconds=1), 1, id="almost"),
        pytest.param(timedelta(seconds=30), 30, id="long"),
        pytest.param(LOCK_DURATION, 900, id="longest"),
        pytest.param(timedelta(hours=1), 0, id="another-clock"),
    ],
)
def test_a_wait_is_told_in_whole_seconds(until: timedelta, seconds: int) -> None:
    """A time too far ahead comes from a clock that has stepped, and is void."""
    assert wait_seconds(Failures(9, NOW + until), NOW) == seconds


@given(st.integers(0, 10_000), st.sampled_from(Scope))
def test_nobody_is_locked_out_for_ever(count: int, scope: Scope) -> None:
    """However often it failed, the next login is tried when the wait is over."""
    seen = add_failure(Failures(count, NOW), scope, NOW)

    assert wait_seconds(seen, NOW + LOCK_DURATION) == 0


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("unknown", "unknown"),
    ],
)
def test_a_host_has_one_place(address: str, network: str) -> None:
    """Who has a whole IPv6 network gets no more tries than who has one address."""
    assert network_of(address) == network


STRANGERS = st.builds(
    Origin,
    username=st.sampled_from(["admin", "jane", "nobody"]),
    address=st.sampled_from(["192.0.2.1", "192.0.2.2", "2001:db8::1"]),
)
STEPS = st.lists(st.tuples(STRANGERS, st.integers(0, 40)), max_size=60)


@settings(max_examples=40, deadline=None)
@given(STEPS)
def test_strangers_never_make_a_known_device_wait(
    steps: list[tuple[Origin, int]],
) -> None:
    """Whatever is tried, also from its own address, it gets in at once."""
    counts: Counts = {}
    now = NOW
    device = Origin("admin", "192.0.2.1", "this browser")
    for stranger, seconds in steps:
        now += timedelta(seconds=seconds)
        fail(counts, stranger, now, known=False)

        assert wait(counts, device, now, known=True) == 0


@settings(max_examples=40, deadline=None)
@given(STEPS)
def test_strangers_elsewhere_never_make_a_known_address_wait(
    steps: list[tuple[Origin, int]],
) -> None:
    """An address from which somebody logged in answers for its own failures only."""
    counts: Counts = {}
    now = NOW
    office = Origin("admin", "198.51.100.1")
    for stranger, seconds in steps:
        now += timedelta(seconds=seconds)
        fail(counts, stranger, now, known=False)

        assert wait(counts, office, now, known=True) == 0


@settings(max_examples=5, deadline=None)
@given(st.randoms(use_true_random=False))
def test_guessing_from_many_places_is_slow(random: Random) -> None:
    """Two tries a second from a hundred places: the account is slow to guess at."""
    counts: Counts = {}
    passed = 0
    for number in range(240):
        now = NOW + timedelta(seconds=number / 2)
        guesser = Origin("admin", f"192.0.2.{random.randrange(100)}")
        passed += not wait(counts, guesser, now, known=False)
        fail(counts, guesser, now, known=False)

    assert passed <= FREE_FAILURES[Scope.ACCOUNT] + 10
