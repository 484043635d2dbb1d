"""Recovery by force is refused where it would leave nobody with the data."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, cast

import pytest

from plugins.ha.membership.forced_recovery import ForcedRecovery
from plugins.ha.replication.member_state import HelloResponse
from plugins.ha.replication.replica_set import ReplicaSet
from twistlock_console.common.errors import DatabaseError, NodeUnreachable, Refused
from twistlock_console.events.cluster_status import ClusterStatus
from twistlock_console.node_api.client import NodeClient

ME, OTHER = "10.0.0.1", "10.0.0.2"
CONFIG = {
    "members": [{"host": f"{address}:27017", "votes": 1} for address in (ME, OTHER)]
}
#: What `hello` tells of a member that may and may not be read from, and is out.
READABLE, UNREADABLE = {"secondary": True}, {"secondary": False}
OUT = {"secondary": False, "isreplicaset": True}


@dataclass
class FakeReplicaSet:
    """Our member of two: as `hello` tells it, and its state as the status does."""

    hello_answer: dict[str, Any]
    state: str

    def config(self) -> dict[str, Any]:
        return CONFIG

    def hello(self) -> HelloResponse:
        return HelloResponse.from_answer(self.hello_answer)

    def status(self) -> ClusterStatus:
        if self.state == "REMOVED":
            raise DatabaseError("replSetGetStatus was refused")
        members = [
            {"_id": 0, "name": f"{ME}:27017", "stateStr": self.state},
            {"_id": 1, "name": f"{OTHER}:27017", "stateStr": "STARTUP2"},
        ]
        return ClusterStatus.from_answer({"members": members}, CONFIG)


@contextmanager
def silent(address: str) -> Iterator[NodeClient]:
    """A node that does not answer."""
    raise NodeUnreachable(f"{address} does not answer")
    yield


@contextmanager
def unreadable(address: str) -> Iterator[SimpleNamespace]:
    """A node of another release: it answers, and its heartbeat lacks members."""
    yield SimpleNamespace(get=lambda _path: {"address": address})


def recovery(
    hello: dict[str, Any], state: str, other: object = silent
) -> ForcedRecovery:
    """What can be asked of a node that does not serve."""
    parts: Any = SimpleNamespace(observation=SimpleNamespace(held_lease=None))
    replica_set = cast(ReplicaSet, FakeReplicaSet(hello, state))
    client_of = cast(Any, other)
    return ForcedRecovery(ME, 27017, replica_set, parts, parts, parts, client_of)


def test_a_node_that_still_copies_is_not_recovered() -> None:
    """It could never serve, and the two that have the data would be shut out."""
    with pytest.raises(Refused, match="has not copied all data yet"):
        recovery(UNREADABLE, "STARTUP2").plan()


@pytest.mark.parametrize(
    ("hello", "state"),
    [
        pytest.param(READABLE, "SECONDARY", id="standby"),
        pytest.param(UNREADABLE, "RECOVERING", id="catches-up"),
        pytest.param(OUT, "REMOVED", id="other-address"),
    ],
)
def test_a_node_with_the_data_may_be(hello: dict[str, Any], state: str) -> None:
    """A silent node is excluded, even if this node is not in its own set."""
    assert recovery(hello, state).plan().others == (OTHER,)


def test_a_node_whose_answer_cannot_be_read_is_not_silent() -> None:
    """It runs; were it left out, there would be two clusters."""
    with pytest.raises(NodeUnreachable, match="is not valid"):
        recovery(READABLE, "SECONDARY", unreadable).plan()
