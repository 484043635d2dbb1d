"""Whether a planned switchover would work now, and why not if it would not.

Pure.
"""

from plugins.ha.consensus.state import Observation, Peer

# Seconds of oplog that the next primary may lack when the switchover begins.
LAG_SECONDS = 10


def why_not(seen: Observation, target: str | None, now: int) -> str | None:
    """Why a switchover to *target* (None: the best standby) is refused now."""
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
    """The standby that a switchover goes to when none is named."""
    fit = [peer for peer in seen.peers if _unfit(seen, peer, now) is None]
    fit.sort(key=lambda peer: (-peer.optime[0], -peer.optime[1], peer.member_id))
    return fit[0].address if fit else None


def follower(seen: Observation, target: str, now: int) -> str | None:
    """The third node, if it is fit to make a majority with *target*; it may rest."""
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
