"""When the Defender tries again, whom, and how long it waits: pure decisions."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twistlock_console.protocol import Goodbye
from twistlock_defender.link.backoff import (
    INITIAL_PAUSE_S,
    MAX_PAUSE_S,
    MAX_SILENCE_TIMEOUT_S,
    MIN_SILENCE_TIMEOUT_S,
    STABLE_CONNECTION_S,
    Target,
    backoff_s,
    count_failures,
    goodbye_pause_s,
    shuffle,
    silence_timeout_s,
    targets_to_try,
)

ONE, TWO = Target("10.0.0.1", 8084, "console"), Target("10.0.0.2", 8084, "console")
ALMOST = 0.999_999


def test_the_first_retry_comes_at_once_and_spread() -> None:
    """After 100 to 500 ms."""
    assert backoff_s(0, 0) == INITIAL_PAUSE_S[0] == 0.1
    assert backoff_s(0, ALMOST) == pytest.approx(0.5, rel=0.01)


@given(st.integers(0, 10_000), st.floats(0, 1, exclude_max=True))
def test_pauses_grow_to_their_longest(round_: int, chance: float) -> None:
    """Later ones are longer, and none is longer than 15 s."""
    assert backoff_s(round_, chance) <= backoff_s(round_ + 1, chance) <= MAX_PAUSE_S


def test_a_failover_is_not_slept_through() -> None:
    """Who has tried for T seconds comes back within T, so soon after a short outage."""
    tried = 0.0
    for round_ in range(20):
        if 2 < tried < 10:
            assert backoff_s(round_, 0.5) <= tried
        tried += backoff_s(round_, 0.5)


@pytest.mark.parametrize(
    ("lasted", "later_epoch", "after"),
    [
        (1.0, False, 4),
        (STABLE_CONNECTION_S, False, 4),
        (STABLE_CONNECTION_S + 1, False, 0),
        (1.0, True, 0),
    ],
)
def test_short_visits_count_as_failures(
    lasted: float, *, later_epoch: bool, after: int
) -> None:
    """But not those to a Console that has just taken over, and was lost, too."""
    assert count_failures(3, lasted, later_epoch=later_epoch) == after


def test_a_goodbye_says_when_to_come_back() -> None:
    """Within the spread that it names."""
    assert goodbye_pause_s(Goodbye(200, 1000), 0) == 0.2
    assert goodbye_pause_s(Goodbye(200, 1000), ALMOST) == pytest.approx(1.2)


def test_mistaken_impatience_doubles_the_patience() -> None:
    """To a limit."""
    assert [silence_timeout_s(n) for n in (0, 1, 2)] == [
        MIN_SILENCE_TIMEOUT_S,
        2 * MIN_SILENCE_TIMEOUT_S,
        4 * MIN_SILENCE_TIMEOUT_S,
    ]
    assert silence_timeout_s(1000) == MAX_SILENCE_TIMEOUT_S


def test_targets_are_tried_in_an_order_of_chance() -> None:
    """Each once."""
    assert shuffle([ONE, TWO], [0.9, 0.1]) == [TWO, ONE]


@pytest.mark.parametrize(
    ("ages", "expected"),
    [
        pytest.param({}, [ONE, TWO], id="nothing tried"),
        pytest.param({ONE: [3.0]}, [TWO], id="a busy one is waited for"),
        pytest.param({ONE: [12.0]}, [ONE, TWO], id="for a while"),
        pytest.param({ONE: [40.0, 12.0]}, [TWO], id="two tries at once are enough"),
    ],
)
def test_whom_to_try_now(
    ages: dict[Target, list[float]], expected: list[Target]
) -> None:
    """Those that are not being tried, or have been for long."""
    assert targets_to_try([ONE, TWO], ages) == expected


@pytest.mark.parametrize(
    ("target", "shown"),
    [
        (ONE, "10.0.0.1:8084 (console)"),
        (Target("::1", 8084, "console"), "[::1]:8084 (console)"),
        (Target("10.0.0.1", 8084, "10.0.0.1"), "10.0.0.1:8084"),
    ],
)
def test_a_target_is_shown_with_the_name_it_was_found_by(
    target: Target, shown: str
) -> None:
    """Unless that is the address itself."""
    assert str(target) == shown
