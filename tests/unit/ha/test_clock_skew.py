"""A member whose clock was set back restarts when the cluster can do without it."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plugins.ha.consensus.clock_skew import (
    MAX_HARMLESS_STEP_NS,
    RESTART_SLOT_NS,
    MemberClock,
    may_restart,
)
from plugins.ha.consensus.state import Observation
from tests.ha.observations import (
    MS,
    NOW,
    SECOND,
    THIRD,
    candidate,
    holder,
    orphan,
    peer,
    serving_peer,
    standby,
)

HOUR = 3600 * SECOND
DELAYS = st.integers(0, 90 * SECOND)
DOWNLOADING = peer(THIRD, state="STARTUP2")


@given(DELAYS, DELAYS, st.integers(0, 1000 * SECOND))
def test_a_delay_is_no_step(before: int, after: int, later: int) -> None:
    """However long the answer takes, and whoever was frozen meanwhile."""
    clock = MemberClock().add_sample(
        reported=HOUR + before, sent=0, received=before + after
    )

    now = later + before + after
    clock = clock.add_sample(
        reported=HOUR + now + before, sent=now, received=now + before
    )

    assert clock.until == 0


@given(st.integers(MAX_HARMLESS_STEP_NS + 200 * MS, HOUR), st.integers(0, 50 * MS))
def test_a_step_back_is_found_and_lasts_as_long_as_it_is(step: int, took: int) -> None:
    """What waits by the clock waits so much longer, and no more."""
    clock = MemberClock().add_sample(HOUR, sent=0, received=took)

    clock = clock.add_sample(HOUR + SECOND - step, sent=SECOND, received=SECOND + took)

    assert clock.noticed_at == SECOND + took
    assert SECOND + step <= clock.until <= 2 * SECOND + step + took


@pytest.mark.parametrize(("step", "counts"), [(SECOND, False), (SECOND + 1, True)])
def test_a_step_of_a_second_is_harmless(step: int, counts: bool) -> None:
    """An election takes as long."""
    clock = MemberClock().add_sample(HOUR, 0, 0)

    assert (clock.add_sample(HOUR - step, 0, 0).until > 0) is counts


def test_a_step_ahead_is_nothing_and_the_way_back_a_step() -> None:
    """Also over several answers, and a smaller step does not shorten a larger one."""
    clock = MemberClock().add_sample(0, 0, 0).add_sample(HOUR + SECOND, SECOND, SECOND)
    assert clock.until == 0

    back = clock.add_sample(2 * SECOND, 2 * SECOND, 2 * SECOND)
    again = back.add_sample(-7 * SECOND, 3 * SECOND, 3 * SECOND)

    assert back.until == again.until == HOUR + 3 * SECOND
    assert again.noticed_at == 3 * SECOND


@pytest.mark.parametrize(
    ("observation", "age", "may"),
    [
        pytest.param(standby(), 0, True, id="all-others-are-well"),
        pytest.param(holder(), HOUR, False, id="it-serves"),
        pytest.param(
            standby(election_step_pending=True), HOUR, False, id="it-steps-down"
        ),
        pytest.param(standby(member=None), HOUR, False, id="it-is-silent"),
        pytest.param(candidate(), 0, True, id="elected-in-vain"),
        pytest.param(candidate(member_id=9), 0, True, id="elected-waits-for-nobody"),
        pytest.param(
            standby(peers=(serving_peer(), DOWNLOADING)), HOUR, False, id="is-needed"
        ),
        pytest.param(
            standby(peers=(serving_peer(), peer(THIRD, mongod_alive=False))),
            HOUR,
            False,
            id="the-other-has-no-database",
        ),
        pytest.param(
            standby(peers=(serving_peer(), peer(THIRD, refused=True))),
            HOUR,
            False,
            id="the-other-is-gone",
        ),
        pytest.param(orphan(), 0, True, id="nobody-serves"),
        pytest.param(standby(peers=()), 0, True, id="alone"),
        pytest.param(standby(member_id=9), 0, False, id="the-other-goes-first"),
        pytest.param(standby(member_id=9), RESTART_SLOT_NS, True, id="its-turn"),
    ],
)
def test_when_it_starts_anew(observation: Observation, age: int, may: bool) -> None:
    """Never while it serves, nor while who serves needs it."""
    assert (
        may_restart(observation, MemberClock(0, noticed_at=NOW - age, until=HOUR), NOW)
        is may
    )


@given(
    st.integers(0, 4 * SECOND),
    st.integers(0, 4 * SECOND),
    st.integers(0, 2 * RESTART_SLOT_NS),
)
def test_two_are_not_away_at_once(first: int, second: int, later: int) -> None:
    """Both clocks were set back, and each noticed it within some seconds."""
    now = NOW + later
    heard = replace(serving_peer(), member_id=9, heard_at=now)
    observation = standby(peers=(heard, peer(THIRD, heard_at=now)))
    clocks = [MemberClock(0, NOW + noticed, 4 * HOUR) for noticed in (first, second)]
    at_first = may_restart(observation, clocks[0], now)
    mirrored = replace(
        observation, member_id=3, peers=(heard, peer(member_id=1, heard_at=now))
    )
    at_second = may_restart(mirrored, clocks[1], now)

    assert at_first is (later >= first)
    if at_second:
        assert later >= first + 10 * SECOND
