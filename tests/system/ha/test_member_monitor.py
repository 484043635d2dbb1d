"""Our own member is monitored without a pause, and without a waste."""

import time
from collections.abc import Mapping
from typing import Any

from plugins.ha.consensus.state import Member, Update
from plugins.ha.replication.member_state import HelloResponse
from plugins.ha.replication.replica_set import HELLO_AWAIT_MS, MemberMonitor
from tests.hosts.waiting import wait_for

REMOVED = Member("REMOVED", writable=False)


class HastyReplicaSet:
    """Answers at once, whatever it was asked to wait for, as a removed member does."""

    def __init__(self) -> None:
        self.changes = 0
        self.asked = 0

    def hello(self, after: Mapping[str, Any] | None, wait_ms: int) -> HelloResponse:
        """Give the present state."""
        del after, wait_ms
        self.asked += 1
        return HelloResponse(REMOVED, {"counter": self.changes}, (0, 0))


def test_a_member_that_does_not_wait_is_not_asked_without_end() -> None:
    """It is asked as seldom as one that waits; a change is reported."""
    replica_set, submitted = HastyReplicaSet(), list[Update]()
    monitor = MemberMonitor(replica_set, lambda: True, submitted.append)  # type: ignore[arg-type]
    monitor.start()
    time.sleep(4 * HELLO_AWAIT_MS / 1000)
    asked = replica_set.asked
    replica_set.changes += 1
    wait_for(lambda: replica_set.asked > asked, 5, "another question")
    monitor.stop()

    assert 2 <= asked <= 6
    assert submitted
