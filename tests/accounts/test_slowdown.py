"""Rules of the slow-down after failed logins."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twistlock_console.accounts.slowdown import (
    FREE,
    Failures,
    Scope,
    one_more,
    wait_seconds,
)

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)


def test_the_wait_doubles_after_five_failures() -> None:
    """Five failures are free, then 1, 2, 4, 8, 16 and 30 seconds."""
    seen = None
    waits = []
    for _ in range(12):
        seen = one_more(seen, Scope.ACCOUNT, NOW)
        waits.append(wait_seconds(seen, NOW))

    assert waits == [0, 0, 0, 0, 1, 2, 4, 8, 16, 30, 30, 30]


def test_an_address_has_more_patience() -> None:
    """Many people may share the address of a load balancer."""
    assert FREE[Scope.ADDRESS] > FREE[Scope.ACCOUNT]


@pytest.mark.parametrize(
    ("until", "wait"),
    [
        pytest.param(timedelta(0), 0, id="now"),
        pytest.param(timedelta(seconds=-5), 0, id="past"),
        pytest.param(timedelta(milliseconds=1), 1, id="almost"),
        pytest.param(timedelta(seconds=30), 30, id="longest"),
        pytest.param(timedelta(hours=1), 0, id="another-clock"),
    ],
)
def test_a_wait_is_told_in_whole_seconds(until: timedelta, wait: int) -> None:
    """A time too far ahead comes from a clock that has stepped, and is void."""
    assert wait_seconds(Failures(9, NOW + until), NOW) == wait


@given(st.integers(0, 10_000), st.sampled_from(Scope))
def test_nobody_is_locked_out(count: int, scope: Scope) -> None:
    """However often it failed, thirty seconds later the next login is tried."""
    seen = one_more(Failures(count, NOW), scope, NOW)

    assert wait_seconds(seen, NOW + timedelta(seconds=30)) == 0
