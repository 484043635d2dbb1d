"""MongoDB's answers, read where they enter; and the states that are shown."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from bson import Timestamp

from plugins.ha.consensus.state import Member
from plugins.ha.replication.member_state import HelloResponse, NodeState, member_state
from tests.ha.observations import ME, OTHER, THIRD
from twistlock_console.events.cluster_status import ClusterStatus, MemberStatus

THEN = datetime(2026, 11, 1, 12, tzinfo=UTC)


def listed(number: int, state: str, **changes: Any) -> dict[str, Any]:
    """A member as `replSetGetStatus` lists it."""
    found = {"_id": number, "name": f"10.0.0.{number}:27017", "stateStr": state}
    return {**found, "health": 1, "optimeDate": THEN, **changes}


STATUS = ClusterStatus.from_answer(
    {
        "term": 4,
        "members": [
            listed(1, "SECONDARY", syncSourceHost="10.0.0.2:27017"),
            listed(2, "PRIMARY", optimeDate=THEN + timedelta(seconds=2)),
            listed(3, "(not reachable/healthy)", health=0, optimeDate=None),
        ],
    },
    {"members": [{"host": f"10.0.0.{n}:27017", "votes": n % 3} for n in (1, 2, 3)]},
)


def test_the_sets_status_is_read_member_by_member() -> None:
    """Addresses without ports, and what is not told is not known."""
    assert (
        ClusterStatus(
            term=4,
            members=(
                MemberStatus(1, ME, "SECONDARY", True, THEN, OTHER),
                MemberStatus(
                    2, OTHER, "PRIMARY", True, THEN + timedelta(seconds=2), ""
                ),
                MemberStatus(
                    3, THIRD, "(not reachable/healthy)", False, None, "", votes=False
                ),
            ),
        )
        == STATUS
    )


@pytest.mark.parametrize(
    ("address", "lag"),
    [
        pytest.param(ME, 2.0, id="behind"),
        pytest.param(OTHER, 0.0, id="most-recent"),
        pytest.param(THIRD, None, id="unknown"),
        pytest.param("10.0.0.9", None, id="stranger"),
    ],
)
def test_lag_is_counted_from_the_most_recent_member(
    address: str, lag: float | None
) -> None:
    """In seconds; None when nobody knows."""
    assert STATUS.lag_seconds(address) == lag
    assert ClusterStatus(0, ()).lag_seconds(address) is None


def test_a_member_that_holds_nothing_yet_has_no_lag() -> None:
    """It begins to copy, and tells of 1970."""
    empty = listed(1, "STARTUP2", optimeDate=datetime(1970, 1, 1, tzinfo=UTC))
    config = {"members": [{"host": "10.0.0.1:27017", "votes": 0}]}

    status = ClusterStatus.from_answer({"members": [empty]}, config)

    assert status.members[0].optime is None
    assert status.lag_seconds(ME) is None


@pytest.mark.parametrize(
    ("answer", "member", "optime"),
    [
        pytest.param(
            {
                "isWritablePrimary": True,
                "primary": "10.0.0.1:27017",
                "lastWrite": {"opTime": {"ts": Timestamp(5, 6)}},
            },
            Member("PRIMARY", writable=True, primary=ME),
            (5, 6),
            id="primary",
        ),
        pytest.param(
            {"secondary": True},
            Member("SECONDARY", writable=False),
            (0, 0),
            id="secondary",
        ),
        pytest.param(
            {"isreplicaset": True},
            Member("REMOVED", writable=False),
            (0, 0),
            id="no-member",
        ),
        pytest.param(
            {"setName": "twistlock"},
            Member("RECOVERING", writable=False),
            (0, 0),
            id="neither",
        ),
    ],
)
def test_hello_tells_what_our_member_is(
    answer: dict[str, Any], member: Member, optime: tuple[int, int]
) -> None:
    """Primary means that it can be written to now."""
    found = HelloResponse.from_answer({**answer, "topologyVersion": {"counter": 1}})

    assert found == HelloResponse(member, {"counter": 1}, optime)


def test_each_member_tells_whom_it_reads_from() -> None:
    """A primary reads from nobody; of a stranger nothing is known."""
    sources = [STATUS.sync_source_of(address) for address in (ME, OTHER, "10.0.0.9")]

    assert sources == [OTHER, "", None]


@pytest.mark.parametrize(
    ("state", "healthy", "shown"),
    [
        pytest.param("PRIMARY", True, NodeState.PRIMARY, id="primary"),
        pytest.param("STARTUP2", True, NodeState.STARTUP2, id="copying"),
        pytest.param("PRIMARY", False, NodeState.UNAVAILABLE, id="out-of-reach"),
        pytest.param("UNKNOWN", True, NodeState.UNAVAILABLE, id="not-a-word-of-ours"),
    ],
)
def test_states_are_mongodbs_words_as_far_as_they_go(
    state: str, healthy: bool, shown: NodeState
) -> None:
    """The rest is UNAVAILABLE."""
    member = MemberStatus(1, ME, state, healthy, None, "")

    assert member_state(member) is shown
