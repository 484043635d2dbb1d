"""The cluster as the page, the API and the command line show it.

Pure: from what the control loop knows, the last poll, and who asks to join.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from plugins.ha.consensus.state import Observation, Peer, Ports
from plugins.ha.consensus.switchover import takeover_forecast
from plugins.ha.membership.rules import JoinRequest, why_not_apply
from plugins.ha.messages import ClusterAnswer, NodeAnswer, RoleChangeAnswer
from plugins.ha.replication.member_state import NodeState, member_state
from twistlock_console.events.cluster_status import ClusterStatus, MemberStatus

#: Heartbeats come several times a second; a busy host may miss some.
HEARD_LATELY = 5_000_000_000


@dataclass(frozen=True, slots=True)
class ClockReading:
    """One moment on both clocks: boot-time nanoseconds, and the wall's."""

    boottime: int
    wall: datetime


@dataclass(frozen=True, slots=True)
class ClusterSnapshot:
    """What the view is drawn from; *reason* is this node's own."""

    seen: Observation
    reason: str
    version: str
    status: ClusterStatus | None
    requests: tuple[JoinRequest, ...]
    history: tuple[RoleChangeAnswer, ...] = ()
    removed: bool = False
    has_no_database: bool = False


def view(picture: ClusterSnapshot, moment: ClockReading) -> ClusterAnswer:
    """Return the answer to GET /high-availability."""
    seen = picture.seen
    members = picture.status.members if picture.status else ()
    waiting = [request for request in picture.requests if not request.approved]
    refusal = why_not_apply([m.address for m in members], waiting, picture.version)
    return ClusterAnswer(
        enabled=True,
        epoch=seen.sighting.document.epoch if seen.sighting else 0,
        primary=_serving(seen),
        apply_ready=refusal is None,
        apply_reason=refusal,
        failures_survived=_failures_survived(members),
        nodes=[
            *(_member(picture, member, moment) for member in members),
            *_outside(picture, members),
            *([_alone(picture)] if not members and _is_alone(picture) else []),
        ],
        history=list(picture.history),
    )


def _serving(seen: Observation) -> str | None:
    """The node that serves under the lease, as far as this one knows."""
    if seen.hold is not None and seen.ports is Ports.OPEN:
        return seen.me
    return next((peer.address for peer in seen.peers if peer.holding), None)


def _member(
    picture: ClusterSnapshot, member: MemberStatus, moment: ClockReading
) -> NodeAnswer:
    seen = picture.seen
    mine = member.address == seen.me
    peer = seen.peer(member.address)
    lag = picture.status.lag_seconds(member.address) if picture.status else None
    heard_at = moment.boottime if mine else (peer.heard_at if peer else 0)
    state = member_state(member)
    unavailable = state is NodeState.UNAVAILABLE
    return NodeAnswer(
        address=member.address,
        state=state,
        self=mine,
        version=picture.version if mine else (peer.version if peer else ""),
        lag_seconds=None if unavailable or lag is None else round(lag, 3),
        last_seen=_wall(heard_at, moment),
        reason=_reason(picture, member, state, moment),
        takeover=_takeover(picture, member, moment),
        fingerprint=None,
    )


def _takeover(
    picture: ClusterSnapshot, member: MemberStatus, moment: ClockReading
) -> str | None:
    """Whether it would take over now; None of the node that serves, or of all."""
    serving = _serving(picture.seen)
    if serving is None or member.address == serving or picture.status is None:
        return None
    survivable = _failures_survived(picture.status.members)
    return takeover_forecast(picture.seen, member.address, survivable, moment.boottime)


def _reason(
    picture: ClusterSnapshot,
    member: MemberStatus,
    state: NodeState,
    moment: ClockReading,
) -> str:
    if member.address == picture.seen.me:
        return picture.reason
    peer = picture.seen.peer(member.address)
    if state is NodeState.UNAVAILABLE:
        return _why_unavailable(peer, moment)
    if state is NodeState.STARTUP2:
        return "copying the database; it votes once it has caught up"
    return peer.reason if peer else ""


def _why_unavailable(peer: Peer | None, moment: ClockReading) -> str:
    """Return why our database does not reach that of *peer*, and what to do."""
    if peer is not None and peer.refused:
        return "out of reach: its host refuses; see whether the Console runs there"
    if peer is None or moment.boottime > peer.heard_at + HEARD_LATELY:
        return "out of reach: it does not answer"
    if peer.cause:
        return f"its database does not run: {peer.cause}"
    if not peer.mongod_alive:
        return "its database does not run"
    return (
        "its node answers, and its database cannot be reached from here; check the "
        "database's port between the hosts"
    )


def _is_alone(picture: ClusterSnapshot) -> bool:
    return picture.removed or picture.has_no_database


def _alone(picture: ClusterSnapshot) -> NodeAnswer:
    """This node, where its database tells of no members: removed, or out of order."""
    return NodeAnswer(
        address=picture.seen.me,
        state=NodeState.REMOVED if picture.removed else NodeState.UNAVAILABLE,
        self=True,
        version=picture.version,
        lag_seconds=None,
        last_seen=None,
        reason=picture.reason,
        fingerprint=None,
    )


def _outside(
    picture: ClusterSnapshot, members: Sequence[MemberStatus]
) -> list[NodeAnswer]:
    """Hosts that asked to join and are no members yet."""
    known = {member.address for member in members}
    return [
        _joining(request)
        for request in picture.requests
        if request.address not in known
    ]


def _joining(request: JoinRequest) -> NodeAnswer:
    admitted = request.approved
    return NodeAnswer(
        address=request.address,
        state=NodeState.STARTUP if admitted else NodeState.REQUEST_JOIN,
        self=False,
        version=request.version,
        lag_seconds=None,
        last_seen=None,
        reason="admitted; it starts its database" if admitted else "waits for APPLY",
        fingerprint=request.fingerprint,
    )


def _wall(heard_at: int, moment: ClockReading) -> datetime | None:
    if not heard_at:
        return None
    ago = timedelta(microseconds=(moment.boottime - heard_at) / 1000)
    return moment.wall - ago


def _failures_survived(members: Sequence[MemberStatus]) -> int:
    """How many more nodes may fail before there is no majority."""
    voters = [member for member in members if member.votes]
    healthy = sum(member_state(m) is not NodeState.UNAVAILABLE for m in voters)
    return max(0, healthy - (len(voters) // 2 + 1))
