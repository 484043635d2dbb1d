"""The cluster as the page and the API show it."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from plugins.ha.consensus.state import Observation, Ports
from plugins.ha.membership.rules import JoinRequest
from plugins.ha.reporting.cluster_view import (
    ClockReading,
    ClusterSnapshot,
    build_cluster_view,
)
from tests.ha.messages import role_change
from tests.ha.observations import (
    ME,
    NOW,
    OTHER,
    SECOND,
    THIRD,
    holder,
    peer,
    serving_peer,
    standby,
)
from twistlock_console.events.cluster_status import ClusterStatus, MemberStatus

WALL = datetime(2026, 11, 1, 12, tzinfo=UTC)


def member(address: str, state: str, *, healthy: bool = True) -> MemberStatus:
    """A member as the set lists it."""
    return MemberStatus(int(address[-1]), address, state, healthy, WALL, "")


CHANGE = role_change(OTHER, "primary", _id="1", phases={"lease": 0.1})
TRIO = ClusterStatus(
    1, (member(ME, "SECONDARY"), member(OTHER, "PRIMARY"), member(THIRD, "SECONDARY"))
)


def drawn(
    observation: Observation, status: ClusterStatus | None, **changes: Any
) -> Any:
    picture = ClusterSnapshot(
        observation=observation,
        reason="we stand by",
        version="1",
        status=status,
        requests=changes.pop("requests", ()),
        **changes,
    )
    return build_cluster_view(picture, ClockReading(NOW, WALL)).as_json()


def test_a_healthy_cluster_is_shown_with_all_that_is_known() -> None:
    """Also on a standby."""
    changes = {"version": "1", "reason": "it serves"}
    observation = standby(
        peers=(serving_peer(**changes), peer(THIRD, heard_at=NOW - SECOND))
    )

    shown = drawn(observation, TRIO, history=(CHANGE,))

    assert (shown["enabled"], shown["epoch"], shown["primary"]) == (True, 7, OTHER)
    assert shown["failuresSurvived"] == 1
    assert shown["history"] == [CHANGE.as_json()]
    assert shown["nodes"][0] == {
        "address": ME,
        "state": "SECONDARY",
        "self": True,
        "version": "1",
        "lagSeconds": 0.0,
        "lastSeen": "2026-11-01T12:00:00.000+00:00",
        "reason": "we stand by",
        "takeover": "would take over first",
        "fingerprint": None,
    }
    assert shown["nodes"][1]["reason"] == "it serves"
    assert shown["nodes"][2]["lastSeen"] == "2026-11-01T11:59:59.000+00:00"


@pytest.mark.parametrize(
    ("observation", "primary"),
    [
        pytest.param(holder(ports=Ports.OPEN), ME, id="this-node"),
        pytest.param(holder(), None, id="not-open-yet"),
        pytest.param(standby(), OTHER, id="a-peer"),
        pytest.param(standby(peers=()), None, id="nobody"),
    ],
)
def test_the_primary_is_who_serves(
    observation: Observation, primary: str | None
) -> None:
    """Not whose database is primary."""
    assert drawn(observation, TRIO)["primary"] == primary


@pytest.mark.parametrize(
    ("observation", "state", "reason"),
    [
        pytest.param(
            standby(peers=(peer(OTHER, refused=True),)),
            member(OTHER, "DOWN", healthy=False),
            "out of reach: its host refuses; check whether the Console runs there",
            id="refuses",
        ),
        pytest.param(
            standby(peers=(peer(OTHER, heard_at=NOW - 6 * SECOND),)),
            member(OTHER, "DOWN", healthy=False),
            "out of reach: it does not answer",
            id="silent",
        ),
        pytest.param(
            standby(
                peers=(peer(OTHER, mongod_alive=False, database_problem="disk full"),)
            ),
            member(OTHER, "DOWN", healthy=False),
            "its database does not run: disk full",
            id="database-with-a-cause",
        ),
        pytest.param(
            standby(peers=(peer(OTHER, mongod_alive=False),)),
            member(OTHER, "DOWN", healthy=False),
            "its database does not run",
            id="database-without-a-cause",
        ),
        pytest.param(
            standby(),
            member(OTHER, "DOWN", healthy=False),
            "its node answers, and its database cannot be reached from here; check "
            "the database's port between the hosts",
            id="database-port-cut",
        ),
        pytest.param(
            standby(peers=()),
            member(OTHER, "DOWN", healthy=False),
            "out of reach: it does not answer",
            id="never-heard",
        ),
        pytest.param(
            standby(),
            member(OTHER, "STARTUP2"),
            "copying the database; it votes once it has caught up",
            id="copying",
        ),
        pytest.param(standby(peers=()), member(OTHER, "SECONDARY"), "", id="unheard"),
    ],
)
def test_each_node_is_shown_with_a_reason(
    observation: Observation, state: MemberStatus, reason: str
) -> None:
    """In its own words where it has any."""
    node = drawn(observation, ClusterStatus(1, (state,)))["nodes"][0]

    assert node["reason"] == reason
    assert node["lagSeconds"] == (0.0 if state.healthy else None)
    assert (node["lastSeen"] is None) == (observation.peers == ())


@pytest.mark.parametrize(
    ("voting", "survived"),
    [
        pytest.param((True, True, True), 1, id="all-vote"),
        pytest.param((True, True, False), 0, id="the-third-still-copies"),
        pytest.param((True, False, False), 0, id="both-still-copy"),
    ],
)
def test_a_member_that_copies_makes_nothing_safer(
    voting: tuple[bool, ...], survived: int
) -> None:
    """Only members that vote count for how many more nodes may fail."""
    members = zip(TRIO.members, voting, strict=True)
    status = ClusterStatus(1, tuple(replace(m, votes=votes) for m, votes in members))

    assert drawn(standby(), status)["failuresSurvived"] == survived


def test_hosts_that_ask_to_join_are_shown_too() -> None:
    """With their fingerprint, until they are members."""
    requests = (
        JoinRequest(OTHER, "1", "AB", approved=True),
        JoinRequest(THIRD, "1", "CD", approved=False),
        JoinRequest(ME, "1", "EF", approved=True),
    )
    alone = ClusterStatus(1, (member(ME, "PRIMARY"),))

    shown = drawn(standby(peers=()), alone, requests=requests)

    assert [(n["address"], n["state"], n["reason"]) for n in shown["nodes"][1:]] == [
        (OTHER, "STARTUP", "admitted; it starts its database"),
        (THIRD, "REQUEST_JOIN", "waits for APPLY"),
    ]
    assert shown["nodes"][2]["fingerprint"] == "CD"
    assert (shown["applyReady"], shown["failuresSurvived"]) == (False, 0)


def test_a_node_knows_that_it_was_removed() -> None:
    """It has no status to show, so it shows itself."""
    shown = drawn(standby(observed_lease=None, peers=()), None, removed=True)

    assert [(n["state"], n["self"]) for n in shown["nodes"]] == [("REMOVED", True)]
    assert shown["epoch"] == 0
    assert drawn(standby(), None)["nodes"] == []


def test_a_node_without_a_database_shows_itself() -> None:
    """With the reason: the others cannot be listed, and it can say why."""
    observation = standby(member=None, observed_lease=None, peers=())

    shown = drawn(observation, None, has_no_database=True)

    own = [(n["state"], n["self"], n["reason"]) for n in shown["nodes"]]
    assert own == [("UNAVAILABLE", True, "we stand by")]
