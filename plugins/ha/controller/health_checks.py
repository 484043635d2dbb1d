"""Check the health of a clustered node: its membership, and its database's clock.

Both checks act on their findings: a removed node is shown as such, and a member whose
clock was set back is restarted.
"""

import logging

from plugins.ha.consensus import transitions
from plugins.ha.consensus.clock_skew import REASON, SECOND, MemberClock, may_restart
from plugins.ha.controller.controller import ControlLoop
from plugins.ha.replication.replica_set import ReplicaSet
from twistlock_console.common.clock import boottime_ns
from twistlock_console.common.errors import DatabaseError
from twistlock_console.database.mongod import Mongod
from twistlock_console.events.cluster_status import address_of
from twistlock_console.system.serving_permit import FOREVER

COOLDOWN_NS = 3 * SECOND
REMOVED = (
    "this node was removed from the cluster and does not serve; to use the host again, "
    "uninstall the Console (twistlock.sh -u) and run the join command of the primary's "
    "page"
)
log = logging.getLogger(__name__)


class MembershipCheck:
    """Checks whether this node still belongs to the cluster.

    Peers refuse a removed node, and our own member has a configuration without it.
    """

    def __init__(
        self, control_loop: ControlLoop, replica_set: ReplicaSet, address: str
    ) -> None:
        self._control_loop = control_loop
        self._replica_set = replica_set
        self._address = address
        #: Why this node is outside the cluster; None while it belongs to it.
        self.reason: str | None = None

    def check(self) -> str | None:
        """Run the check; return why this node is outside the cluster, or None."""
        observation = self._control_loop.observation
        is_removed = (
            observation.cooldown_until >= FOREVER or self._is_removed_from_set()
        )
        self.reason = REMOVED if is_removed else None
        return self.reason

    def _is_removed_from_set(self) -> bool:
        """Return whether our member has a configuration that does not name it."""
        try:
            members = self._replica_set.config()["members"]
        except DatabaseError:
            return False
        return self._address not in [address_of(member["host"]) for member in members]


class ClockMonitor:
    """Monitors the clock of our member, and restarts the member if needed."""

    def __init__(
        self, replica_set: ReplicaSet, control_loop: ControlLoop, mongod: Mongod
    ) -> None:
        self._mongod = mongod
        self._replica_set = replica_set
        self._control_loop = control_loop
        self._clock = MemberClock()
        self._pid: int | None = None

    def check(self) -> str | None:
        """Run the health check, about once a second; return the problem, or None."""
        if self._mongod.pid != self._pid:
            # A new process waits for nothing yet.
            self._pid, self._clock = self._mongod.pid, MemberClock()
        self._sample_clock()
        now = boottime_ns()
        if now >= self._clock.until:
            return None
        # If this member were elected now, it might get no majority.
        until, reason = now + COOLDOWN_NS, f"cooldown: {REASON}"
        self._control_loop.submit(
            lambda observation: transitions.enter_cooldown(observation, until, reason)
        )
        if may_restart(self._control_loop.observation, self._clock, now):
            log.warning("restarting our database: %s", REASON)
            self._clock = MemberClock()
            self._mongod.restart()
        return REASON

    def _sample_clock(self) -> None:
        sent = boottime_ns()
        try:
            reported = self._replica_set.read_clock()
        except DatabaseError as error:
            log.debug("reading the clock of our database failed: %s", error)
            return
        self._clock = self._clock.add_sample(reported, sent, boottime_ns())
