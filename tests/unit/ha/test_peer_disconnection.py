"""Our member disconnects from a silent node once there is another primary."""

import os
from dataclasses import replace

import pytest

from plugins.ha.consensus.election import all_peers_silent, unresponsive_peers
from plugins.ha.consensus.state import Member, Observation, Peer
from plugins.ha.replication.sync_source import MAX_DISCONNECTS, PeerDisconnector
from tests.ha.observations import ME, MS, NOW, OTHER, PRIMARY, THIRD, peer, standby
from twistlock_console.common.errors import DatabaseError

ELECTED = Member("SECONDARY", writable=False, primary=THIRD)
SILENT = peer(OTHER, heard_at=NOW - 701 * MS)
REFUSES = peer(OTHER, refused=True)


@pytest.mark.parametrize(
    ("observation", "given"),
    [
        pytest.param(
            standby(
                member=ELECTED, peers=(SILENT, peer(THIRD)), primary_changed_at=NOW - MS
            ),
            {OTHER},
            id="silent",
        ),
        pytest.param(
            standby(
                member=ELECTED,
                peers=(REFUSES, peer(THIRD)),
                primary_changed_at=NOW - MS,
            ),
            {OTHER},
            id="refuses",
        ),
        pytest.param(
            standby(
                member=PRIMARY, peers=(SILENT, peer(THIRD)), primary_changed_at=NOW - MS
            ),
            {OTHER},
            id="elected",
        ),
        pytest.param(
            standby(
                member=ELECTED,
                peers=(SILENT, peer(THIRD)),
                primary_changed_at=NOW - 3601 * MS,
            ),
            set(),
            id="long-since",
        ),
        pytest.param(
            standby(
                member=ELECTED,
                peers=(SILENT, peer(THIRD)),
                primary_changed_at=NOW - 3000 * MS,
            ),
            {OTHER},
            id="two-lease-times-ago",
        ),
        pytest.param(
            standby(
                member=ELECTED,
                peers=(SILENT, peer(THIRD)),
                primary_changed_at=NOW - 3000 * MS - 1,
            ),
            set(),
            id="just-over-two-lease-times-ago",
        ),
        pytest.param(standby(member=ELECTED, primary_changed_at=NOW), set(), id="well"),
        pytest.param(
            standby(peers=(SILENT, peer(THIRD)), primary_changed_at=NOW),
            set(),
            id="still-primary",
        ),
        pytest.param(
            standby(member=None, peers=(SILENT, peer(THIRD)), primary_changed_at=NOW),
            set(),
            id="unknown",
        ),
        pytest.param(
            standby(
                member=Member("SECONDARY", False),
                peers=(SILENT, peer(THIRD)),
                primary_changed_at=NOW,
            ),
            set(),
            id="no-primary",
        ),
    ],
)
def test_a_silent_node_is_given_up_for_another_primary(
    observation: Observation, given: set[str]
) -> None:
    """Before there is another, its answer is the only one to wait for."""
    assert unresponsive_peers(observation, NOW) == given


@pytest.mark.parametrize(
    ("peers", "alone"),
    [
        pytest.param((SILENT, replace(REFUSES, address=THIRD)), True, id="both"),
        pytest.param((SILENT, peer(THIRD)), False, id="one"),
        pytest.param((), False, id="a-set-of-one"),
    ],
)
def test_a_node_whose_others_are_silent_is_alone(
    peers: tuple[Peer, ...], alone: bool
) -> None:
    """When it stops, it waits neither for an heir nor for its history to be stored."""
    assert all_peers_silent(standby(peers=peers), NOW) is alone


class FakeReplicaSet:
    """Records the hosts whose connections it is to drop; it may not answer."""

    def __init__(self, error: DatabaseError | None = None) -> None:
        self.dropped: list[str] = []
        self._error = error

    def drop_connections(self, host: str) -> None:
        """Note *host*."""
        self.dropped.append(host)
        if self._error:
            raise self._error


@pytest.mark.parametrize("error", [None, DatabaseError("no answer")])
@pytest.mark.parametrize("pid", [None, pytest.param(os.getpid(), id="own")])
def test_a_node_is_left_again_and_again_and_then_no_more(
    error: DatabaseError | None, pid: int | None
) -> None:
    """What was ended may be begun once more; a dead host is not fought for ever."""
    replica_set = FakeReplicaSet(error)
    detachment = PeerDisconnector(replica_set, lambda: pid, 27017)  # type: ignore[arg-type]
    for _ in range(MAX_DISCONNECTS + 3):
        detachment.disconnect({OTHER})
    first = list(replica_set.dropped)
    detachment.disconnect(set())
    detachment.disconnect({ME})

    assert first == [f"{OTHER}:27017"] * MAX_DISCONNECTS
    assert replica_set.dropped[MAX_DISCONNECTS:] == [f"{ME}:27017"]
