"""Build the view of the cluster for the page, the API and the command line.

Pure: a function of the observation, the last poll, and the join requests.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from plugins.ha.consensus.state import Observation, Peer, Ports
from plugins.ha.consensus.switchover import failover_forecast
from plugins.ha.membership.rules import JoinRequest, apply_refusal
from plugins.ha.messages import ClusterResponse, NodeResponse, RoleChangeResponse
from plugins.ha.replication.member_state import NodeState, member_state
from twistlock_console.events.cluster_status import ClusterStatus, MemberStatus

#: A heartbeat younger than this is recent; a busy host may miss some.
RECENT_HEARTBEAT_NS = 5_000_000_000


@dataclass(frozen=True, slots=True)
class ClockReading:
    """One moment on both clocks: boot-time nanoseconds, and wall-clock time."""

    boottime: int
    wall: datetime


@dataclass(frozen=True, slots=True)
class ClusterSnapshot:
    """The input of the view.

    Attributes:
        reason: The sentence on why this node serves, or does not.
        status: The last answer to the poll; None if there is none.
        removed: Whether this node was removed from the cluster.
        has_no_database: Whether the database of this node cannot be used.
    """

    observation: Observation
    reason: str
    version: str
    status: ClusterStatus | None
    requests: tuple[JoinRequest, ...]
    history: tuple[RoleChangeResponse, ...] = ()
    removed: bool = False
    has_no_database: bool = False


def build_cluster_view(
    snapshot: ClusterSnapshot, reading: ClockReading
) -> ClusterResponse:
    """Return the response to GET /high-availability."""
    observation = snapshot.observation
    members = snapshot.status.members if snapshot.status else ()
    waiting = [request for request in snapshot.requests if not request.approved]
    refusal = apply_refusal([m.address for m in members], waiting, snapshot.version)
    return ClusterResponse(
        enabled=True,
        epoch=observation.observed_lease.document.epoch
        if observation.observed_lease
        else 0,
        primary=_serving_address(observation),
        apply_ready=refusal is None,
        apply_reason=refusal,
        failures_survived=_failures_survived(members),
        nodes=[
            *(_member_node(snapshot, member, reading) for member in members),
            *_joining_nodes(snapshot, members),
            *(
                [_single_node(snapshot)]
                if not members and _is_outside_set(snapshot)
                else []
            ),
        ],
        history=list(snapshot.history),
    )


def _serving_address(observation: Observation) -> str | None:
    """Return the address of the node that serves, as far as this one knows."""
    if observation.held_lease is not None and observation.ports is Ports.OPEN:
        return observation.self_address
    return next(
        (peer.address for peer in observation.peers if peer.serving_epoch), None
    )


def _member_node(
    snapshot: ClusterSnapshot, member: MemberStatus, reading: ClockReading
) -> NodeResponse:
    observation = snapshot.observation
    mine = member.address == observation.self_address
    peer = observation.peer(member.address)
    lag = snapshot.status.lag_seconds(member.address) if snapshot.status else None
    heard_at = reading.boottime if mine else (peer.heard_at if peer else 0)
    state = member_state(member)
    unavailable = state is NodeState.UNAVAILABLE
    return NodeResponse(
        address=member.address,
        state=state,
        self=mine,
        version=snapshot.version if mine else (peer.version if peer else ""),
        lag_seconds=None if unavailable or lag is None else round(lag, 3),
        last_seen=_wall_time(heard_at, reading),
        reason=_reason(snapshot, member, state, reading),
        takeover=_failover_forecast(snapshot, member, reading),
        fingerprint=None,
    )


def _failover_forecast(
    snapshot: ClusterSnapshot, member: MemberStatus, reading: ClockReading
) -> str | None:
    """Return the failover forecast; None for the primary, or without one."""
    serving = _serving_address(snapshot.observation)
    if serving is None or member.address == serving or snapshot.status is None:
        return None
    survivable = _failures_survived(snapshot.status.members)
    return failover_forecast(
        snapshot.observation, member.address, survivable, reading.boottime
    )


def _reason(
    snapshot: ClusterSnapshot,
    member: MemberStatus,
    state: NodeState,
    reading: ClockReading,
) -> str:
    if member.address == snapshot.observation.self_address:
        return snapshot.reason
    peer = snapshot.observation.peer(member.address)
    if state is NodeState.UNAVAILABLE:
        return _why_unavailable(peer, reading)
    if state is NodeState.STARTUP2:
        return "copying the database; it votes once it has caught up"
    return peer.reason if peer else ""


def _why_unavailable(peer: Peer | None, reading: ClockReading) -> str:
    """Return why our database does not reach the one of *peer*, and what to do."""
    if peer is not None and peer.refused:
        return "out of reach: its host refuses; check whether the Console runs there"
    if peer is None or reading.boottime > peer.heard_at + RECENT_HEARTBEAT_NS:
        return "out of reach: it does not answer"
    if peer.database_problem:
        return f"its database does not run: {peer.database_problem}"
    if not peer.mongod_alive:
        return "its database does not run"
    return (
        "its node answers, and its database cannot be reached from here; check the "
        "database's port between the hosts"
    )


def _is_outside_set(snapshot: ClusterSnapshot) -> bool:
    return snapshot.removed or snapshot.has_no_database


def _single_node(snapshot: ClusterSnapshot) -> NodeResponse:
    """Return the row of this node alone, which was removed or has no database."""
    return NodeResponse(
        address=snapshot.observation.self_address,
        state=NodeState.REMOVED if snapshot.removed else NodeState.UNAVAILABLE,
        self=True,
        version=snapshot.version,
        lag_seconds=None,
        last_seen=None,
        reason=snapshot.reason,
        fingerprint=None,
    )


def _joining_nodes(
    snapshot: ClusterSnapshot, members: Sequence[MemberStatus]
) -> list[NodeResponse]:
    """Return the hosts that asked to join and are not members yet."""
    known = {member.address for member in members}
    return [
        _joining_node(request)
        for request in snapshot.requests
        if request.address not in known
    ]


def _joining_node(request: JoinRequest) -> NodeResponse:
    admitted = request.approved
    return NodeResponse(
        address=request.address,
        state=NodeState.STARTUP if admitted else NodeState.REQUEST_JOIN,
        self=False,
        version=request.version,
        lag_seconds=None,
        last_seen=None,
        reason="admitted; it starts its database" if admitted else "waits for APPLY",
        fingerprint=request.fingerprint,
    )


def _wall_time(heard_at: int, reading: ClockReading) -> datetime | None:
    if not heard_at:
        return None
    ago = timedelta(microseconds=(reading.boottime - heard_at) / 1000)
    return reading.wall - ago


def _failures_survived(members: Sequence[MemberStatus]) -> int:
    """Count how many more nodes may fail before there is no majority."""
    voters = [member for member in members if member.votes]
    healthy = sum(member_state(m) is not NodeState.UNAVAILABLE for m in voters)
    return max(0, healthy - (len(voters) // 2 + 1))
