"""Schedule the periodic jobs of a clustered node: polls, observations, records."""

import logging
from dataclasses import dataclass

from plugins.ha.consensus import transitions
from plugins.ha.consensus.election import unresponsive_peers
from plugins.ha.controller.controller import ControlLoop, RoleRecorder
from plugins.ha.controller.executor import PortActions
from plugins.ha.controller.health_checks import ClockMonitor, MembershipCheck
from plugins.ha.membership.credentials import NodeKeyRegistry
from plugins.ha.membership.service import Membership
from plugins.ha.peers.heartbeats import HeartbeatSender
from plugins.ha.replication.collections import LeaseStore
from plugins.ha.replication.replica_set import ReplicaSet
from plugins.ha.replication.sync_source import PeerDisconnector
from plugins.ha.reporting.role_history import ReconnectRecorder, RoleHistory
from plugins.ha.settings import HaSettings
from twistlock_console.common.clock import boottime_ns
from twistlock_console.common.errors import DatabaseError
from twistlock_console.database.known_members import write_known_members
from twistlock_console.events.types import ClusterPolled, Role
from twistlock_console.node.context import NodeContext
from twistlock_console.pki.certificates import fingerprint
from twistlock_console.pki.identity_files import NODE

log = logging.getLogger(__name__)


@dataclass(kw_only=True)
class HaJobs:
    """The scheduled jobs of high availability."""

    node: NodeContext
    control_loop: ControlLoop
    recorder: RoleRecorder
    replica_set: ReplicaSet
    store: LeaseStore
    heartbeats: HeartbeatSender
    membership: Membership
    node_keys: NodeKeyRegistry
    history: RoleHistory
    reconnects: ReconnectRecorder
    port_actions: PortActions
    peer_disconnector: PeerDisconnector
    membership_check: MembershipCheck
    clock_monitor: ClockMonitor

    def schedule(self) -> None:
        """Add all jobs to the node's scheduler."""
        every, settings = self.node.scheduler.every, HaSettings.of(self.node.settings)
        every(settings.lease_ttl_ms / 18_000, "lease-poll", self._observe_lease)
        every(
            settings.heartbeat_interval_ms / 1000,
            "disconnect-silent-peers",
            self._disconnect_silent_peers,
        )
        every(1.0, "history", self.history.deliver)
        every(0.5, "membership", self._advance_membership)
        every(1.0, "node-keys", self._refresh_node_keys)
        self.node.health.add_check("membership", 1.0, self.membership_check.check)
        self.node.health.add_check("clock", 1.0, self.clock_monitor.check)
        every(30.0, "port-failures", self._reset_port_failures)
        every(2.0, "reconnects", self._record_reconnects)
        every(1.0, "standby-processes", self.node.service_ports.prepare)
        every(1.0, "closed-servers", self._poll_closed_servers)

    def on_cluster_polled(self, event: ClusterPolled) -> None:
        """Exchange heartbeats with the present members of the replica set."""
        if event.status is None:
            return
        members = {m.address: m.member_id for m in event.status.members}
        mine = members.pop(self.node.settings.node_address, 0)
        self.control_loop.submit(
            lambda observation: transitions.members_changed(observation, mine, members)
        )
        self.heartbeats.set_peers(set(members))
        self.node.reserve_slots(members)
        write_known_members(self.node.settings.folders, members)

    def _observe_lease(self) -> None:
        """Poll the lease in our own member, to know when it last changed."""
        try:
            document = self.store.read(0.5)
        except DatabaseError:
            return
        now = boottime_ns()
        self.control_loop.submit(
            lambda observation: transitions.lease_observed(observation, document, now)
        )

    def _disconnect_silent_peers(self) -> None:
        self.peer_disconnector.disconnect(
            unresponsive_peers(self.control_loop.observation, boottime_ns())
        )

    def _advance_membership(self) -> None:
        if (
            self.recorder.role is Role.PRIMARY
            and self.control_loop.observation.switchover_request is None
        ):
            self.membership.advance()

    def _refresh_node_keys(self) -> None:
        self.node_keys.refresh()
        mine = self.node.settings.folders.certificates / NODE
        if self.recorder.role is Role.PRIMARY:
            own = fingerprint(mine.read_bytes())
            self.node_keys.ensure_admitted(self.node.settings.node_address, own)

    def _record_reconnects(self) -> None:
        held = self.control_loop.observation.held_lease
        if held is not None and self.recorder.role is Role.PRIMARY:
            self.reconnects.update(held.document.epoch, boottime_ns())

    def _poll_closed_servers(self) -> None:
        if self.node.service_ports.closed() and self.recorder.role is Role.PRIMARY:
            self.control_loop.submit(self.port_actions.poll_servers())

    def _reset_port_failures(self) -> None:
        self.control_loop.submit(
            lambda observation: transitions.ports_proven_stable(
                observation, boottime_ns()
            )
        )
