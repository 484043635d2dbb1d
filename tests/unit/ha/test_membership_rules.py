"""Who may ask, who is admitted, and the next single step of a change."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from plugins.ha.membership.rules import (
    JoinRequest,
    apply_refusal,
    config_without,
    join_refusal,
    next_step,
    without_vote,
)
from tests.ha.observations import ME, OTHER, THIRD
from twistlock_console.events.cluster_status import ClusterStatus, MemberStatus

THEN = datetime(2026, 11, 1, 12, tzinfo=UTC)


def asks(address: str, **changes: Any) -> JoinRequest:
    """A host that asks to join."""
    return JoinRequest(
        **{
            "address": address,
            "version": "1",
            "fingerprint": "AB",
            "approved": False,
            **changes,
        }
    )


def member(address: str, votes: int = 1) -> dict[str, Any]:
    """A member in the set's configuration."""
    number = int(address[-1])
    return {
        "_id": number,
        "host": f"{address}:27017",
        "priority": votes,
        "votes": votes,
    }


def config(*members: dict[str, Any], chaining: bool = False) -> dict[str, Any]:
    """A configuration of the set."""
    settings = {"chainingAllowed": chaining}
    return {"version": 3, "members": list(members), "settings": settings}


@pytest.mark.parametrize(
    ("members", "waiting", "refusal"),
    [
        pytest.param([ME], [asks(OTHER), asks(THIRD)], None, id="two-wait"),
        pytest.param([ME, OTHER], [asks(THIRD)], None, id="one-is-missing"),
        pytest.param([ME, OTHER, THIRD], [asks(THIRD)], None, id="one-joins-anew"),
        pytest.param(
            [ME],
            [],
            "No host waits to join; run the join command on a host first.",
            id="nobody-waits",
        ),
        pytest.param(
            [ME],
            [asks(OTHER)],
            "1 more host must ask to join first; a cluster has 3 nodes.",
            id="too-few",
        ),
        pytest.param(
            [ME, OTHER, THIRD],
            [asks("10.0.0.4")],
            "A cluster has 3 nodes; 4 would be too many. Remove one first.",
            id="too-many",
        ),
        pytest.param(
            [ME, OTHER],
            [asks(THIRD, version="2")],
            "10.0.0.3 runs version 2 and this Console 1; install the same version and "
            "join again.",
            id="another-version",
        ),
        pytest.param(
            [ME, OTHER],
            [asks(THIRD, routed=True)],
            "10.0.0.3 is on another network, behind a router; all nodes must be on one "
            "local network.",
            id="routed",
        ),
    ],
)
def test_apply_is_refused_with_the_reason(
    members: list[str], waiting: list[JoinRequest], refusal: str | None
) -> None:
    """A cluster has three nodes of one version on one network."""
    assert apply_refusal(members, waiting, "1") == refusal


@pytest.mark.parametrize(
    ("request_", "refusal"),
    [
        pytest.param(asks(THIRD), None, id="stranger"),
        pytest.param(asks(OTHER), None, id="member-that-does-not-vote-yet"),
        pytest.param(
            asks(ME),
            "10.0.0.1 is a node of this cluster already; remove it on the primary's "
            "page before it joins again.",
            id="member",
        ),
        pytest.param(
            asks(THIRD, version="2"),
            "This host has version 2 of the Console and the cluster 1; uninstall it "
            "here and run the join command again, which installs the right one.",
            id="another-version",
        ),
    ],
)
def test_a_host_that_cannot_join_is_told_so_at_once(
    request_: JoinRequest, refusal: str | None
) -> None:
    """Before anybody looks at its request."""
    found = join_refusal(request_, config(member(ME), member(OTHER, votes=0)), "1")

    assert found == refusal


def status(state: str = "SECONDARY", lag: float | None = 1) -> ClusterStatus:
    """ME leads; OTHER copies, and is so far behind."""
    ends = None if lag is None else THEN - timedelta(seconds=lag)
    return ClusterStatus(
        1,
        (
            MemberStatus(1, ME, "PRIMARY", True, THEN, ""),
            MemberStatus(2, OTHER, state, True, ends, ME),
        ),
    )


COPYING = config(member(ME), member(OTHER, votes=0))
VOTES = config(member(ME), member(OTHER))


@pytest.mark.parametrize(
    ("before", "observation", "after", "reason"),
    [
        pytest.param(
            config(member(ME)),
            status(),
            COPYING,
            "10.0.0.2:27017 starts its initial sync",
            id="added-without-a-vote",
        ),
        pytest.param(
            COPYING, status(), VOTES, "10.0.0.2 has caught up and votes", id="gets-vote"
        ),
        pytest.param(
            COPYING,
            status(lag=5),
            VOTES,
            "10.0.0.2 has caught up and votes",
            id="five-seconds-behind-has-caught-up",
        ),
        pytest.param(
            config(member(ME), member(OTHER, votes=0), member(THIRD, votes=0)),
            status(),
            config(member(ME), member(OTHER), member(THIRD, votes=0)),
            "10.0.0.2 has caught up and votes",
            id="one-vote-at-a-time",
        ),
        pytest.param(
            config(member(ME), chaining=True),
            status(),
            config(member(ME)),
            "all members replicate from the primary again",
            id="chaining-ends-after-a-switchover",
        ),
        pytest.param(
            VOTES,
            status("STARTUP2", lag=None),
            COPYING,
            "10.0.0.2 copies all data and has no vote until it has caught up",
            id="emptied-loses-its-vote",
        ),
    ],
)
def test_each_pass_makes_one_step(
    before: dict[str, Any],
    observation: ClusterStatus,
    after: dict[str, Any],
    reason: str,
) -> None:
    """A member that copies has no vote, and one member changes at a time."""
    step = next_step(before, observation, [OTHER, THIRD], 27017)

    assert step is not None
    assert (step.config, step.reason) == (after, reason)


@pytest.mark.parametrize(
    ("before", "observation"),
    [
        pytest.param(COPYING, status("STARTUP2"), id="copies"),
        pytest.param(COPYING, status(lag=6), id="lags"),
        pytest.param(COPYING, status(lag=None), id="lag-unknown"),
        pytest.param(COPYING, ClusterStatus(1, ()), id="not-listed"),
        pytest.param(VOTES, status(), id="all-is-done"),
        pytest.param(VOTES, status("STARTUP2"), id="starts-with-its-data"),
        pytest.param(VOTES, status("(not reachable)", lag=None), id="is-down"),
        pytest.param(COPYING, status("STARTUP2", lag=None), id="has-no-vote-to-take"),
    ],
)
def test_without_a_step_to_make_nothing_changes(
    before: dict[str, Any], observation: ClusterStatus
) -> None:
    """It waits for the member that copies, and ends when all vote."""
    assert next_step(before, observation, [OTHER], 27017) is None


def test_a_member_that_is_to_copy_gets_no_vote_for_its_status_of_before() -> None:
    """What the primary knows of it may be from when it still had its data."""
    assert next_step(COPYING, status(), [], 27017, emptied={OTHER}) is None
    step = next_step(COPYING, status(), [], 27017, emptied={THIRD})

    assert step is not None
    assert step.config == VOTES


def test_a_vote_is_taken_by_address() -> None:
    """Whoever has none keeps none."""
    step = without_vote(VOTES, OTHER)

    assert step is not None
    assert step.config == COPYING
    assert without_vote(COPYING, OTHER) is None
    assert without_vote(VOTES, THIRD) is None


def test_a_member_is_removed_by_its_address() -> None:
    """And who is no member cannot be."""
    step = config_without(VOTES, OTHER)

    assert step is not None
    assert (step.config, step.reason) == (config(member(ME)), "10.0.0.2 was removed")
    assert config_without(VOTES, THIRD) is None
