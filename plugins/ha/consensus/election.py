"""Decide when a standby stands for election, and which silent peers to ignore.

Pure. The vote stays with MongoDB, which decides by quorum and term. Standing early only
saves the detection time; it changes nothing where MongoDB's own election would fail.
"""

from dataclasses import dataclass

from plugins.ha.consensus.state import Observation, Peer

SECOND = 1_000_000_000
#: How much later each next candidate stands, so that two do not split the vote.
CANDIDATE_DELAY_NS = SECOND // 2
#: The shortest time between two attempts of the same member.
ELECTION_INTERVAL_NS = SECOND
NEVER = 2**63 - 1
#: How many ttls after an election members may still wait for the former primary.
#: Later a silent peer may only be slow.
POST_ELECTION_TTLS = 2


@dataclass(frozen=True, slots=True)
class ElectionDecision:
    """The answer to "stand for election?": *now*, or decide again at *wake_at*."""

    now: bool
    reason: str
    wake_at: int


def decide_election(observation: Observation, now: int) -> ElectionDecision:
    """Return whether our member should stand for election at *now*."""
    later = now + observation.timing.heartbeat_interval
    if observation.member is None or observation.member.state != "SECONDARY":
        state = "silent" if observation.member is None else observation.member.state
        return ElectionDecision(False, f"the local database is {state}", later)
    if serving := _other_primary(observation, now):
        return ElectionDecision(False, f"{serving.address} is primary", later)
    primary = observation.peer(observation.member.primary) or _last_primary(observation)
    if primary is None:
        return _run_for_election(observation, "the primary", now, now)
    return _primary_lost(observation, primary, now)


def _primary_lost(
    observation: Observation, primary: Peer, now: int
) -> ElectionDecision:
    """Decide whether to stand for election because *primary* is lost."""
    later = now + observation.timing.heartbeat_interval
    name, lost_at = primary.address, _lost_at(observation, primary)
    if now < lost_at:
        return ElectionDecision(
            False, f"{name} was heard a moment ago", min(lost_at, later)
        )
    if witness := _peer_hearing_primary(observation, name, now):
        return ElectionDecision(
            False, f"{name} is silent here, but {witness} hears it", later
        )
    if unsure := _peer_with_stale_optime(observation, primary.lost_at, now):
        return ElectionDecision(
            False, f"{name} is gone; asking {unsure} for its oplog position", later
        )
    return _run_for_election(
        observation, name, max(lost_at, primary.primary_claimed_at), now
    )


def _run_for_election(
    observation: Observation, name: str, lost_at: int, now: int
) -> ElectionDecision:
    """Stand for election against the reachable peers, the best-ranked one first."""
    fresh = [peer for peer in observation.peers if observation.is_reachable(peer, now)]
    if not fresh:
        reason = f"{name} and all other nodes are silent: no majority"
        return ElectionDecision(
            False, reason, now + observation.timing.heartbeat_interval
        )
    if now < observation.cooldown_until:
        return ElectionDecision(
            False,
            observation.cooldown_reason,
            min(observation.cooldown_until, now + SECOND),
        )
    better = [peer for peer in fresh if _outranks_us(peer, observation)]
    start = max(
        lost_at + len(better) * CANDIDATE_DELAY_NS,
        observation.election_step_ended_at + ELECTION_INTERVAL_NS,
    )
    if now < start or observation.election_step_pending:
        first = better[0].address if better else observation.self_address
        wake_at = start if now < start else now + observation.timing.heartbeat_interval
        return ElectionDecision(
            False, f"{name} is silent; {first} stands for election first", wake_at
        )
    return ElectionDecision(
        True, f"{name} is silent: standing for election", now + ELECTION_INTERVAL_NS
    )


def _other_primary(observation: Observation, now: int) -> Peer | None:
    return next(
        (
            peer
            for peer in observation.peers
            if peer.writable and observation.is_reachable(peer, now)
        ),
        None,
    )


def _last_primary(observation: Observation) -> Peer | None:
    if observation.observed_lease is None:
        return None
    return observation.peer(observation.observed_lease.document.holder)


def _peer_hearing_primary(
    observation: Observation, primary: str, now: int
) -> str | None:
    """Return a peer that still hears *primary*: then only our link is broken."""
    return next(
        (
            peer.address
            for peer in observation.peers
            if primary in peer.reachable_primaries
            and observation.is_reachable(peer, now)
        ),
        None,
    )


def _peer_with_stale_optime(
    observation: Observation, lost_at: int, now: int
) -> str | None:
    """Return a reachable peer whose last optime is from before *lost_at*.

    Its oplog may have grown since, and both would consider themselves best-ranked.
    """
    return next(
        (
            peer.address
            for peer in observation.peers
            if peer.heard_at < lost_at and observation.is_reachable(peer, now)
        ),
        None,
    )


def _lost_at(observation: Observation, primary: Peer) -> int:
    """Return when *primary* counts as lost: its process ended, or it was silent."""
    if not primary.heard_at:
        # Never heard since this node started: MongoDB itself decides whether it lives.
        return NEVER
    if primary.lost_at:
        return primary.lost_at
    # A lease that goes on changing proves more than a heartbeat: a node too busy to
    # answer one still holds the role, and an election would only take it away.
    renewed_at = (
        observation.observed_lease.changed_at if observation.observed_lease else 0
    )
    claimed_at = primary.heard_at if _claims_primary(observation, primary) else 0
    return max(claimed_at, renewed_at) + observation.unreachable_after


def _claims_primary(observation: Observation, primary: Peer) -> bool:
    """Return whether *primary* says that it is primary.

    Our member's word counts too, until the peer was asked after that.
    """
    if primary.writable:
        return True
    named = (
        observation.member is not None and observation.member.primary == primary.address
    )
    return named and primary.heard_at < observation.primary_changed_at


def _outranks_us(peer: Peer, observation: Observation) -> bool:
    """Return whether *peer* ranks higher: a newer oplog, then a lower member id."""
    if peer.state != "SECONDARY" or peer.in_cooldown:
        return False
    return (-peer.optime[0], -peer.optime[1], peer.member_id) < (
        -observation.optime[0],
        -observation.optime[1],
        observation.member_id,
    )


def unresponsive_peers(observation: Observation, now: int) -> frozenset[str]:
    """Return the addresses of silent peers that our member may be waiting for.

    Empty without another primary, and from some time after its election on.
    """
    primary = observation.member.primary if observation.member else None
    if (
        primary is None
        or now
        > observation.primary_changed_at + POST_ELECTION_TTLS * observation.current_ttl
    ):
        return frozenset()
    return frozenset(
        peer.address
        for peer in observation.peers
        if peer.address != primary and not observation.is_reachable(peer, now)
    )


def all_peers_silent(observation: Observation, now: int) -> bool:
    """Return whether this node has peers, and none of them is reachable."""
    return bool(observation.peers) and not any(
        observation.is_reachable(p, now) for p in observation.peers
    )
