"""Compose high availability in a node: create its parts, connect bus and jobs."""

import time
from contextlib import suppress
from datetime import UTC, datetime

from plugins.ha.consensus import switchover, transitions
from plugins.ha.consensus.election import all_peers_silent
from plugins.ha.consensus.lease_duration import LeaseBounds
from plugins.ha.consensus.state import Observation, Ports, Timing
from plugins.ha.controller.controller import ControlLoop, RoleRecorder
from plugins.ha.controller.executor import (
    ActionExecutor,
    ElectionActions,
    LeaseActions,
    PortActions,
)
from plugins.ha.controller.health_checks import ClockMonitor, MembershipCheck
from plugins.ha.jobs import HaJobs
from plugins.ha.membership.credentials import NodeKeyRegistry
from plugins.ha.membership.forced_recovery import ForcedRecovery
from plugins.ha.membership.rules import JoinRequest
from plugins.ha.membership.service import JoinRequests, Membership
from plugins.ha.messages import ClusterResponse, RoleChangeResponse
from plugins.ha.peers.heartbeats import HeartbeatSender
from plugins.ha.replication.collections import Client, Collections, LeaseStore
from plugins.ha.replication.replica_set import MemberMonitor, ReplicaSet
from plugins.ha.replication.sync_source import PeerDisconnector
from plugins.ha.reporting.cluster_view import (
    ClockReading,
    ClusterSnapshot,
    build_cluster_view,
)
from plugins.ha.reporting.monitoring import HaMetrics, cluster_sources
from plugins.ha.reporting.role_history import ReconnectRecorder, RoleHistory
from plugins.ha.settings import HaSettings
from twistlock_console import __version__
from twistlock_console.common.clock import MILLISECOND, SECOND, boottime_ns
from twistlock_console.common.errors import ConsoleError, DatabaseError, Refused
from twistlock_console.database.client import connect, credentials_for
from twistlock_console.events.types import (
    ClusterPolled,
    DatabaseStopped,
    ListenerFailed,
    ListenersPaused,
    Role,
    RoleChanged,
)
from twistlock_console.node.context import NodeContext
from twistlock_console.node_api.client import NodeClient

REMOVED_NODES = "removed-nodes.json"
SWITCHOVER_TIMEOUT_S = 5.0
MAX_HISTORY_RECORDS = 100


class HaRuntime:
    """The composition root: the role controller of a clustered node, and its parts."""

    def __init__(self, node: NodeContext) -> None:
        self._node = node
        self.settings = node.settings
        self._ha_settings = HaSettings.of(node.settings)
        self._clients: list[Client] = []
        commands = self._connect("commands", 5000)
        whole_set = self._connect("records", 5000, whole_set=True)
        collections = Collections(whole_set, commands)
        self.replica_set = ReplicaSet(commands)
        self.requests = JoinRequests(collections)
        self.node_keys = NodeKeyRegistry(
            collections, self.settings.folders.run / REMOVED_NODES
        )
        self.membership = Membership(
            self.settings,
            self.replica_set,
            self.requests,
            self.node_keys,
            self.client_of,
        )
        spool = self.settings.folders.run / "history.jsonl"
        self.history = RoleHistory(self.settings.node_address, spool, collections)
        self.metrics = HaMetrics(node.service_ports)
        self._store = LeaseStore(self._connect("lease", 1000))
        self._recorder = RoleRecorder(node.bus)
        self._port_actions = PortActions(node.service_ports)
        node.service_ports.checks.ends_without_database = True
        self._executor = self._make_executor()
        self.control_loop = ControlLoop(
            self._first_observation(), self._executor, node.permit, self._recorder
        )
        self._member_monitor = MemberMonitor(
            ReplicaSet(self._connect("hello", 1000, is_awaiting=True)),
            lambda: node.database.running,
            self.control_loop.submit,
        )
        self._heartbeats = HeartbeatSender(
            self._ha_settings.heartbeat_interval_ms / 1000,
            self.client_of,
            self.control_loop.submit,
        )
        self._membership_check = MembershipCheck(
            self.control_loop, self.replica_set, self.settings.node_address
        )
        self.recovery = ForcedRecovery(
            address=self.settings.node_address,
            port=self.settings.database_port,
            replica_set=self.replica_set,
            node_keys=self.node_keys,
            lease_store=self._store,
            control_loop=self.control_loop,
            client_of=self.client_of,
        )
        self._jobs = self._make_jobs(
            ReconnectRecorder(whole_set["twistlock"], self.history)
        )
        self._register_with_node()

    def start(self) -> None:
        """Start the control loop and the monitor of our member."""
        self.control_loop.start()
        self._member_monitor.start()

    def stop(self) -> None:
        """Switch over to a standby if there is one, then always close the ports."""
        if self._recorder.role is Role.PRIMARY:
            with suppress(Refused):
                self.request_switchover(None, "this node is being stopped")
        self.control_loop.resign_for_good()
        deadline = boottime_ns() + int(SWITCHOVER_TIMEOUT_S * SECOND)
        while (
            self._may_hold_role()
            and not self._is_isolated()
            and boottime_ns() < deadline
        ):
            time.sleep(0.02)
        is_isolated = self._is_isolated()
        self.control_loop.stop()
        self._node.permit.revoke()
        self._node.service_ports.close_all()
        self._member_monitor.stop()
        self._heartbeats.stop()
        self._executor.stop()
        # Without a majority nothing can be stored; the next start delivers it.
        if not is_isolated:
            self.history.deliver()
        for client in self._clients:
            client.close()

    def request_switchover(self, target: str | None, reason: str) -> None:
        """Prepare and start a switchover to *target*, or to the best standby.

        Raises:
            Refused: It would not work now; the message says why.
        """
        observation, now = self.control_loop.observation, boottime_ns()
        if refusal := switchover.refusal_reason(observation, target, now):
            raise Refused(refusal)
        target = target or switchover.best_candidate(observation, now)
        if target and (
            secondary := switchover.remaining_secondary(observation, target, now)
        ):
            self.membership.prepare_switchover(target, secondary)
        self.control_loop.request_switchover(target, reason)

    def client_of(self, address: str) -> NodeClient:
        """Return a new client of the node API at *address*; the caller closes it."""
        return NodeClient(self.settings, address, timeout=2.0)

    @property
    def database_problem(self) -> str:
        """Return why our database cannot be used now; "" while it answers."""
        member = self.control_loop.observation.member
        return "" if member and member.alive else self._node.database.problem

    def get_cluster(self) -> ClusterResponse:
        """Return the cluster as this node sees it; it works on standbys too."""
        has_no_database = bool(self.database_problem)
        requests, history = ((), ()) if has_no_database else self._load_stored()
        snapshot = ClusterSnapshot(
            observation=self.control_loop.observation,
            reason=self._membership_check.reason or self._own_reason(),
            removed=self._membership_check.reason is not None,
            has_no_database=has_no_database,
            version=__version__,
            status=self._node.cluster_poll.status,
            requests=requests,
            history=history,
        )
        return build_cluster_view(
            snapshot, ClockReading(boottime_ns(), datetime.now(UTC))
        )

    def _load_stored(
        self,
    ) -> tuple[tuple[JoinRequest, ...], tuple[RoleChangeResponse, ...]]:
        """Return the join requests and the history; () for what cannot be read."""
        try:
            requests = self.requests.list()
        except ConsoleError:
            requests = ()
        return requests, self.history.latest(MAX_HISTORY_RECORDS)

    def _own_reason(self) -> str:
        if problem := self.database_problem:
            return f"its database does not run: {problem}"
        return self.control_loop.reason

    def _peer_addresses(self) -> list[str]:
        return [peer.address for peer in self.control_loop.observation.peers]

    def _nodes_to_wait_for(self) -> list[str]:
        """Return the addresses of the other members and of admitted hosts.

        Raises:
            DatabaseError: The database does not answer, or does not know this node.
        """
        mine = self.settings.node_address
        members = self.membership.members()
        if mine not in members:
            raise DatabaseError("this node is not a member of its cluster now")
        admitted = [each.address for each in self.requests.list() if each.approved]
        return [a for a in dict.fromkeys([*members, *admitted]) if a != mine]

    def _is_isolated(self) -> bool:
        """Return whether no peer is reachable, to take over or to store writes."""
        observation = self.control_loop.observation
        return observation.held_lease is None and all_peers_silent(
            observation, boottime_ns()
        )

    def _may_hold_role(self) -> bool:
        observation = self.control_loop.observation
        return (
            observation.held_lease is not None
            or observation.ports is not Ports.CLOSED
            or observation.election_step_pending
        )

    def _connect(
        self,
        app_name: str,
        timeout_ms: int,
        *,
        whole_set: bool = False,
        is_awaiting: bool = False,
    ) -> Client:
        client = connect(
            self.settings,
            credentials_for(self.settings, "cluster"),
            app_name=f"twistlock-{app_name}",
            timeout_ms=timeout_ms,
            whole_set=whole_set,
            is_awaiting=is_awaiting,
            retry_reads=whole_set,
        )
        self._clients.append(client)
        return client

    def _first_observation(self) -> Observation:
        start = self._ha_settings.lease_ttl_ms * MILLISECOND
        ceiling = max(start, self._ha_settings.lease_ttl_max_ms * MILLISECOND)
        timing = Timing(
            lease=LeaseBounds(start, start, ceiling),
            step_up_after=self._ha_settings.step_up_after_ms * MILLISECOND,
            heartbeat_interval=self._ha_settings.heartbeat_interval_ms * MILLISECOND,
        )
        return Observation(
            self_address=self.settings.node_address, member_id=0, timing=timing
        )

    def _make_executor(self) -> ActionExecutor:
        ttl = self._ha_settings.lease_ttl_ms * MILLISECOND
        return ActionExecutor(
            LeaseActions(
                self.settings.node_address,
                ttl,
                self._store,
                self.metrics.majority_write.observe,
            ),
            self._port_actions,
            ElectionActions(self.replica_set, self.client_of),
        )

    def _make_jobs(self, reconnects: ReconnectRecorder) -> HaJobs:
        node, database_port = self._node, self.settings.database_port
        return HaJobs(
            node=node,
            control_loop=self.control_loop,
            recorder=self._recorder,
            replica_set=self.replica_set,
            store=self._store,
            heartbeats=self._heartbeats,
            membership=self.membership,
            node_keys=self.node_keys,
            history=self.history,
            reconnects=reconnects,
            port_actions=self._port_actions,
            peer_disconnector=PeerDisconnector(
                self.replica_set, lambda: node.database.pid, database_port
            ),
            membership_check=self._membership_check,
            clock_monitor=ClockMonitor(
                self.replica_set, self.control_loop, node.database
            ),
        )

    def _register_with_node(self) -> None:
        self._node.support.peers = self._peer_addresses
        self._node.trust_migration.peers = self._nodes_to_wait_for
        self._node.support.parts |= {
            "cluster": lambda: self.get_cluster().as_json(),
            "rs.status": self.replica_set.raw_status,
            "rs.conf": self.replica_set.config,
        }
        self._node.alerts.sources += cluster_sources(self.get_cluster, self.client_of)
        self._jobs.schedule()

    def on_cluster_polled(self, event: ClusterPolled) -> None:
        """Apply the members that the scheduled `rs.status()` poll found."""
        self._jobs.on_cluster_polled(event)

    def on_database_stopped(self, event: DatabaseStopped) -> None:
        """Note that our member has no role until it answers again."""
        del event
        self._member_monitor.database_ended()

    def on_role_changed(self, event: RoleChanged) -> None:
        """Record the change of role in the history."""
        self.history.record(event)

    def on_listener_failed(self, failure: ListenerFailed) -> None:
        """Submit the failure of a service server to the control loop."""
        self.control_loop.submit(self._port_actions.server_failed(failure))

    def on_listeners_paused(self, pause: ListenersPaused) -> None:
        """Submit a pause of the ports, which must be reopened, to the control loop."""
        self.control_loop.submit(
            lambda observation: transitions.ports_paused(observation, pause.reason)
        )
