"""Choose the standby for a switchover, and forecast the one for a failover.

Pure. A refusal or an obstacle is a sentence that an operator can act on.
"""

from plugins.ha.consensus.state import Observation, Peer

#: Seconds of oplog that the next primary may lack when the switchover starts.
MAX_LAG_S = 10


def refusal_reason(
    observation: Observation, target: str | None, now: int
) -> str | None:
    """Return why a switchover is refused now; None if it may start.

    *target* is an address, or None for the best standby.
    """
    if target == observation.self_address:
        return f"{target} is the primary already."
    if target is None:
        reasons = [
            _candidate_obstacle(observation, peer, now) for peer in observation.peers
        ]
        if not reasons:
            return "There is no other node to switch over to."
        return None if None in reasons else str(reasons[0])
    peer = observation.peer(target)
    if peer is None:
        return f"No node of this cluster has the address {target}."
    return _candidate_obstacle(observation, peer, now)


def best_candidate(observation: Observation, now: int) -> str | None:
    """Return the address of the best standby for a switchover; None if none is fit."""
    fit = [
        peer
        for peer in observation.peers
        if _candidate_obstacle(observation, peer, now) is None
    ]
    fit.sort(key=lambda peer: (-peer.optime[0], -peer.optime[1], peer.member_id))
    return fit[0].address if fit else None


def remaining_secondary(observation: Observation, target: str, now: int) -> str | None:
    """Return the third node, if it can form a majority with *target*.

    It may be in cooldown: it only votes.
    """
    others = (peer for peer in observation.peers if peer.address != target)
    return next(
        (p.address for p in others if _voter_obstacle(observation, p, now) is None),
        None,
    )


def _candidate_obstacle(observation: Observation, peer: Peer, now: int) -> str | None:
    """Return why *peer* cannot become primary now, as a sentence; None if it can."""
    if peer.in_cooldown:
        return f"{peer.address} is in cooldown after a failure of its own."
    return _voter_obstacle(observation, peer, now)


def _voter_obstacle(observation: Observation, peer: Peer, now: int) -> str | None:
    """Return why *peer* cannot acknowledge writes now; None if it can."""
    if not observation.is_reachable(peer, now):
        return f"{peer.address} is out of reach."
    if peer.database_problem:
        return f"The database of {peer.address} does not run: {peer.database_problem}."
    if peer.state != "SECONDARY":
        return f"{peer.address} is {peer.state}, not SECONDARY."
    lag = observation.optime[0] - peer.optime[0]
    if lag > MAX_LAG_S:
        return f"{peer.address} lags {lag} s behind."
    return None


def failover_forecast(
    observation: Observation, address: str, survivable: int, now: int
) -> str:
    """Return whether the node at *address* would take over now, and why not.

    *survivable* is how many nodes may fail before the cluster has no majority. The
    answer is a phrase, such as "would take over first".
    """
    standbys = [_self_as_peer(observation, now), *observation.peers]
    node = next((n for n in standbys if n.address == address), None)
    if node is None or (why := _failover_obstacle(node, observation, now)):
        return f"would not take over: {why if node else 'it is not a member yet'}"
    if survivable < 1:
        return "would not take over: without the primary there is no majority"
    fit = [n for n in standbys if not _failover_obstacle(n, observation, now)]
    first = min(fit, key=lambda n: (-n.optime[0], -n.optime[1], n.member_id))
    if first is node:
        return "would take over first"
    return f"would take over if {first.address} did not"


def _self_as_peer(observation: Observation, now: int) -> Peer:
    return Peer(
        address=observation.self_address,
        member_id=observation.member_id,
        heard_at=now,
        state=observation.member.state if observation.member else "UNKNOWN",
        optime=observation.optime,
        in_cooldown=now < observation.cooldown_until,
    )


def _failover_obstacle(node: Peer, observation: Observation, now: int) -> str | None:
    """Return why *node* would not take over if the primary failed now."""
    if not observation.is_reachable(node, now):
        return "it is out of reach"
    if node.state != "SECONDARY":
        return (
            "its database does not run"
            if node.database_problem
            else f"its database is {node.state}"
        )
    if node.in_cooldown:
        return "it is in cooldown after it gave up the role, or failed"
    newest = max([observation.optime, *(peer.optime for peer in observation.peers)])
    lag = newest[0] - node.optime[0]
    return f"it lags {lag} s behind" if lag > MAX_LAG_S else None
