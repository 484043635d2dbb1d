"""The cluster as the page, the API and the command line show it.

Pure: from what the control loop knows, the last poll, and who asks to join.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from plugins.ha.consensus.state import Observation, Peer, Ports
from plugins.ha.consensus.switchover import takeover_forecast
from plugins.ha.membership.rules import JoinRequest, why_not_apply
from plugins.ha.replication.member_state import NodeState, member_state
from twistlock_console.events.cluster_status import ClusterStatus, MemberStatus

#: Heartbeats come several times a second; a busy host may miss some.
HEARD_LATELY = 5_000_000_000


@dataclass(frozen=True, slots=True)
class Moment:
    """One moment on both clocks: boot-time nanoseconds, and the wall's."""

    boottime: int
    wall: datetime


@dataclass(frozen=True, slots=True)
class Picture:
    """What the view is drawn from; *reason* is this node's own."""

    seen: Observation
    reason: str
    version: str
    status: ClusterStatus | None
    requests: tuple[JoinRequest, ...]
    history: tuple[dict[str, Any], ...] = ()
    removed: bool = False
    has_no_database: bool = False


def view(picture: Picture, moment: Moment) -> dict[str, Any]:
    """The answer to GET /high-availability."""
    seen = picture.seen
    members = picture.status.members if picture.status else ()
    waiting = [request for request in picture.requests if not request.approved]
    refusal = why_not_apply([m.address for m in members], waiting, picture.version)
    return {
        "enabled": True,
        "epoch": seen.sighting.document.epoch if seen.sighting else 0,
        "primary": _serving(seen),
        "applyReady": refusal is None,
        "applyReason": refusal,
        "failuresSurvived": _failures_survived(members),
        "nodes": [
            *(_member(picture, member, moment) for member in members),
            *_outside(picture, members),
            *([_alone(picture)] if not members and _is_alone(picture) else []),
        ],
        "history": list(picture.history),
    }


def _serving(seen: Observation) -> str | None:
    """The node that serves under the lease, as far as this one knows."""
    if seen.hold is not None and seen.ports is Ports.OPEN:
        return seen.me
    return next((peer.address for peer in seen.peers if peer.holding), None)


def _member(picture: Picture, member: MemberStatus, moment: Moment) -> dict[str, Any]:
    seen = picture.seen
    mine = member.address == seen.me
    peer = seen.peer(member.address)
    lag = picture.status.lag_seconds(member.address) if picture.status else None
    heard_at = moment.boottime if mine else (peer.heard_at if peer else 0)
    state = member_state(member)
    unavailable = state is NodeState.UNAVAILABLE
    return {
        "address": member.address,
        "state": state.value,
        "self": mine,
        "version": picture.version if mine else (peer.version if peer else ""),
        "lagSeconds": None if unavailable or lag is None else round(lag, 3),
        "lastSeen": _wall(heard_at, moment),
        "reason": _reason(picture, member, state, moment),
        "takeover": _takeover(picture, member, moment),
        "fingerprint": None,
    }


def _takeover(picture: Picture, member: MemberStatus, moment: Moment) -> str | None:
    """Whether it would take over now; None of the node that serves, or of all."""
    serving = _serving(picture.seen)
    if serving is None or member.address == serving or picture.status is None:
        return None
    survivable = _failures_survived(picture.status.members)
    return takeover_forecast(picture.seen, member.address, survivable, moment.boottime)


def _reason(
    picture: Picture, member: MemberStatus, state: NodeState, moment: Moment
) -> str:
    if member.address == picture.seen.me:
        return picture.reason
    peer = picture.seen.peer(member.address)
    if state is NodeState.UNAVAILABLE:
        return _why_unavailable(peer, moment)
    if state is NodeState.STARTUP2:
        return "copying the database; it votes once it has caught up"
    return peer.reason if peer else ""


def _why_unavailable(peer: Peer | None, moment: Moment) -> str:
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


def _is_alone(picture: Picture) -> bool:
    return picture.removed or picture.has_no_database


def _alone(picture: Picture) -> dict[str, Any]:
    """This node, where its database tells of no members: removed, or out of order."""
    state = NodeState.REMOVED if picture.removed else NodeState.UNAVAILABLE
    return {
        "address": picture.seen.me,
        "state": state,
        "self": True,
        "version": picture.version,
        "lagSeconds": None,
        "lastSeen": None,
        "reason": picture.reason,
        "takeover": None,
        "fingerprint": None,
    }


def _outside(picture: Picture, members: Sequence[MemberStatus]) -> list[dict[str, Any]]:
    """Hosts that asked to join and are no members yet."""
    known = {member.address for member in members}
    return [
        {
            "address": request.address,
            "state": NodeState.STARTUP if request.approved else NodeState.REQUEST_JOIN,
            "self": False,
            "version": request.version,
            "lagSeconds": None,
            "lastSeen": None,
            "reason": "admitted; it starts its database"
            if request.approved
            else "waits for APPLY",
            "takeover": None,
            "fingerprint": request.fingerprint,
        }
        for request in picture.requests
        if request.address not in known
    ]


def _wall(heard_at: int, moment: Moment) -> str | None:
    if not heard_at:
        return None
    ago = timedelta(microseconds=(moment.boottime - heard_at) / 1000)
    return (moment.wall - ago).isoformat(timespec="milliseconds")


def _failures_survived(members: Sequence[MemberStatus]) -> int:
    """How many more nodes may fail before there is no majority."""
    voters = [member for member in members if member.votes]
    healthy = sum(member_state(m) is not NodeState.UNAVAILABLE for m in voters)
    return max(0, healthy - (len(voters) // 2 + 1))
