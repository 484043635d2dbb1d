"""Which standby takes over: in a planned switchover, and if the primary failed now.

Pure. A refusal or an obstacle is a sentence that an operator can act on.
"""

from plugins.ha.consensus.state import Observation, Peer

# Seconds of oplog that the next primary may lack when the switchover begins.
LAG_SECONDS = 10


def refusal_reason(seen: Observation, target: str | None, now: int) -> str | None:
    """Return why a switchover to *target* (None: the best standby) is refused now."""
    if target == seen.me:
        return f"{target} is the primary already."
    if target is None:
        reasons = [_unfit(seen, peer, now) for peer in seen.peers]
        if not reasons:
            return "There is no other node to switch over to."
        return None if None in reasons else str(reasons[0])
    peer = seen.peer(target)
    if peer is None:
        return f"No node of this cluster has the address {target}."
    return _unfit(seen, peer, now)


def best(seen: Observation, now: int) -> str | None:
    """Return the standby that a switchover goes to when none is named."""
    fit = [peer for peer in seen.peers if _unfit(seen, peer, now) is None]
    fit.sort(key=lambda peer: (-peer.optime[0], -peer.optime[1], peer.member_id))
    return fit[0].address if fit else None


def follower(seen: Observation, target: str, now: int) -> str | None:
    """Return the third node if it can make a majority with *target*; it may rest."""
    others = (peer for peer in seen.peers if peer.address != target)
    return next((p.address for p in others if _no_voter(seen, p, now) is None), None)


def _unfit(seen: Observation, peer: Peer, now: int) -> str | None:
    if peer.resting:
        return f"{peer.address} is resting after a failure of its own."
    return _no_voter(seen, peer, now)


def _no_voter(seen: Observation, peer: Peer, now: int) -> str | None:
    if not seen.is_heard(peer, now):
        return f"{peer.address} is out of reach."
    if peer.cause:
        return f"The database of {peer.address} does not run: {peer.cause}."
    if peer.state != "SECONDARY":
        return f"{peer.address} is {peer.state}, not SECONDARY."
    lag = seen.optime[0] - peer.optime[0]
    if lag > LAG_SECONDS:
        return f"{peer.address} lags {lag} s behind."
    return None


def takeover_forecast(
    seen: Observation, address: str, survivable: int, now: int
) -> str:
    """Tell whether the node at *address* would take over now, and why not.

    *survivable* nodes may fail before none serves.
    """
    standbys = [_ourselves(seen, now), *seen.peers]
    node = next((n for n in standbys if n.address == address), None)
    if node is None or (why := _obstacle(node, seen, now)):
        return f"would not take over: {why if node else 'it is no member yet'}"
    if survivable < 1:
        return "would not take over: without the primary there is no majority"
    fit = [n for n in standbys if not _obstacle(n, seen, now)]
    first = min(fit, key=lambda n: (-n.optime[0], -n.optime[1], n.member_id))
    if first is node:
        return "would take over first"
    return f"would take over if {first.address} did not"


def _ourselves(seen: Observation, now: int) -> Peer:
    return Peer(
        address=seen.me,
        member_id=seen.member_id,
        heard_at=now,
        state=seen.member.state if seen.member else "UNKNOWN",
        optime=seen.optime,
        resting=now < seen.resting_until,
    )


def _obstacle(node: Peer, seen: Observation, now: int) -> str | None:
    if not seen.is_heard(node, now):
        return "it is out of reach"
    if node.state != "SECONDARY":
        return (
            "its database does not run"
            if node.cause
            else f"its database is {node.state}"
        )
    if node.resting:
        return "it rests after it gave up the role, or failed"
    newest = max([seen.optime, *(peer.optime for peer in seen.peers)])
    lag = newest[0] - node.optime[0]
    return f"it lags {lag} s behind" if lag > LAG_SECONDS else None
