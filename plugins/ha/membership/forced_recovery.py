"""Force a surviving node to be the only member, after the other two were lost.

The quorum keeps two nodes from serving at once, and this overrides it. So it is refused
while another node answers. Two fences refuse the lost nodes if they return: a newer
replica-set configuration without them, and an epoch higher than they can reach. See
docs/recovery.md.
"""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial

from pymongo.errors import PyMongoError

from plugins.ha.consensus import transitions
from plugins.ha.controller.controller import ControlLoop
from plugins.ha.membership.credentials import NodeKeyRegistry
from plugins.ha.messages import RecoveryResponse
from plugins.ha.peers.heartbeats import PATH, Heartbeat
from plugins.ha.replication.collections import LeaseStore
from plugins.ha.replication.member_state import MemberConfig, NodeState
from plugins.ha.replication.replica_set import ReplicaSet
from twistlock_console.common.clock import SECOND, boottime_ns
from twistlock_console.common.errors import DatabaseError, NodeUnreachable, Refused
from twistlock_console.events.cluster_status import address_of
from twistlock_console.node_api.client import NodeClient

#: The excluded nodes could elect each other this often and still have a lower epoch.
EPOCH_INCREMENT = 1_000_000
WRITABLE_TIMEOUT_S = 30
RETRY_TIMEOUT_S = 45
RETRY_INTERVAL_S = 0.5
log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ForcedRecovery:
    """Plans and executes the forced recovery of this node, *address*."""

    address: str
    port: int
    replica_set: ReplicaSet
    node_keys: NodeKeyRegistry
    lease_store: LeaseStore
    control_loop: ControlLoop
    client_of: Callable[[str], NodeClient]

    def plan(self) -> RecoveryResponse:
        """Return the plan.

        Raises:
            Refused: A recovery is not needed, or would lose data.
        """
        if self.control_loop.observation.held_lease is not None:
            raise Refused(f"{self.address} serves; there is nothing to recover from.")
        self._check_initial_sync()
        members = self.replica_set.config()["members"]
        addresses = [address_of(member["host"]) for member in members]
        others = tuple(one for one in addresses if one != self.address)
        for other in others:
            self._check_unreachable(other)
        return RecoveryResponse(
            address=self.address, others=others, stored_until=self._stored_until()
        )

    def execute(self) -> None:
        """Make this node the only member of its replica set.

        Raises:
            Refused: As in `plan`.
            DatabaseError: The database did not do it in RETRY_TIMEOUT_S.
        """
        plan = self.plan()
        log.warning("forced recovery: excluding %s", ", ".join(plan.others))
        # Keep the control loop from sending lease requests of its own meanwhile.
        self.control_loop.submit(
            lambda observation: replace(observation, lease_request_pending=True)
        )
        try:
            # A half-done recovery cannot be requested again: this node then serves.
            deadline = boottime_ns() + RETRY_TIMEOUT_S * SECOND
            _retry_until(self._become_single_member, deadline)
            _retry_until(self._raise_epoch, deadline)
            for other in plan.others:
                _retry_until(partial(self.node_keys.remove, other), deadline)
        finally:
            self.control_loop.submit(transitions.lease_request_finished)
        log.warning(
            "forced recovery finished: %s is the only node of its cluster", self.address
        )

    def _check_initial_sync(self) -> None:
        """Raise Refused if our member is still in its initial sync.

        It would take the new configuration but never become writable, and the nodes
        that have the data would be excluded as soon as they hear of it.
        """
        if self.replica_set.hello().member.state != NodeState.RECOVERING:
            return  # a member outside its set has no status
        members = self.replica_set.status().members
        own = next((m.state for m in members if m.address == self.address), None)
        if own == NodeState.STARTUP2:
            raise Refused(
                f"{self.address} has not copied all data yet: alone it could not "
                "serve, and the others would be left out. Bring one of them back; if "
                "both are destroyed, restore a backup on a new host."
            )

    def _check_unreachable(self, other: str) -> None:
        try:
            with self.client_of(other) as client:
                answer = client.get(PATH)
        except NodeUnreachable:
            return
        except Refused as error:
            raise Refused(f"{other} answers: {error}") from error
        # A node with an unreadable answer is not silent: that error is raised.
        if cause := Heartbeat.from_answer(answer).database_problem:
            raise Refused(
                f"{other} answers, and its database does not run: {cause}. Repair it; "
                "if it is beyond repair, stop the Console on that host first."
            )
        raise Refused(
            f"{other} answers, so two nodes are there and no recovery is needed; see "
            "`twistlock-console ha status`. If that host is beyond repair, switch it "
            "off first."
        )

    def _stored_until(self) -> datetime | None:
        try:
            members = self.replica_set.status().members
        except DatabaseError:
            return None
        return next((m.optime for m in members if m.address == self.address), None)

    def _become_single_member(self) -> None:
        config = self.replica_set.config()
        host = f"{self.address}:{self.port}"
        number = next(
            (m["_id"] for m in config["members"] if m["host"] == host),
            1 + max(m["_id"] for m in config["members"]),
        )
        only_member: MemberConfig = {
            "_id": number,
            "host": host,
            "priority": 1,
            "votes": 1,
        }
        self.replica_set.reconfigure({**config, "members": [only_member]}, force=True)
        deadline = boottime_ns() + WRITABLE_TIMEOUT_S * SECOND
        while not self.replica_set.hello().member.writable:
            if boottime_ns() > deadline:
                raise DatabaseError(
                    f"the database did not become writable in {WRITABLE_TIMEOUT_S} s"
                )
            time.sleep(0.1)

    def _raise_epoch(self) -> None:
        before = self.lease_store.read(5.0)
        raised = replace(
            before,
            holder=self.address,
            epoch=before.epoch + EPOCH_INCREMENT,
            seq=before.seq + 1,
            released=True,
        )
        if not self.lease_store.replace(before, raised, 5.0):
            raise DatabaseError("the lease changed meanwhile")


def _retry_until(step: Callable[[], None], deadline: int) -> None:
    """Retry *step* until it succeeds; raise its error after the *deadline*."""
    while True:
        try:
            return step()
        except (DatabaseError, PyMongoError) as error:
            if boottime_ns() > deadline:
                raise
            log.warning("forced recovery: retrying: %s", error)
        time.sleep(RETRY_INTERVAL_S)
