"""When a standby stands for election, and which silent nodes need no waiting for.

Pure. The vote stays MongoDB's: it decides by majority and term. Standing early only
saves the detection time, and does nothing where MongoDB's own election would not help.
"""

from dataclasses import dataclass

from plugins.ha.consensus.state import Observation, Peer

SECOND = 1_000_000_000
# A second candidate waits, so that two do not split the vote.
DEFERENCE = SECOND // 2
COOLDOWN = SECOND
NEVER = 2**63 - 1
#: In lease times. Later no member waits for the former primary, and a silent node may
#: only be slow.
AFTER_AN_ELECTION = 2


@dataclass(frozen=True, slots=True)
class ElectionDecision:
    """Whether to stand for election now, and why; else when to look again."""

    now: bool
    reason: str
    wake_at: int


def should_step_up(seen: Observation, now: int) -> ElectionDecision:
    """Say whether our member should stand for election at *now*."""
    later = now + seen.timing.heartbeat
    if seen.member is None or seen.member.state != "SECONDARY":
        state = "silent" if seen.member is None else seen.member.state
        return ElectionDecision(False, f"the local database is {state}", later)
    if serving := _other_primary(seen, now):
        return ElectionDecision(False, f"{serving.address} is primary", later)
    primary = seen.peer(seen.member.primary) or _last_primary(seen)
    if primary is None:
        return _run_for_election(seen, "the primary", now, now)
    return _primary_lost(seen, primary, now)


def _primary_lost(seen: Observation, primary: Peer, now: int) -> ElectionDecision:
    """Decide whether to stand for election because *primary* is lost."""
    later = now + seen.timing.heartbeat
    name, lost_at = primary.address, _silent_from(seen, primary)
    if now < lost_at:
        return ElectionDecision(
            False, f"{name} was heard a moment ago", min(lost_at, later)
        )
    if witness := _peer_hearing_primary(seen, name, now):
        return ElectionDecision(
            False, f"{name} is silent here, but {witness} hears it", later
        )
    if unsure := _unheard_since(seen, primary.lost_at, now):
        return ElectionDecision(
            False, f"{name} is gone; asking {unsure} how recent it is", later
        )
    return _run_for_election(seen, name, max(lost_at, primary.claimed_at), now)


def _run_for_election(
    seen: Observation, name: str, lost_at: int, now: int
) -> ElectionDecision:
    fresh = [peer for peer in seen.peers if seen.is_heard(peer, now)]
    if not fresh:
        reason = f"{name} is silent, and so is everybody else: no majority"
        return ElectionDecision(False, reason, now + seen.timing.heartbeat)
    if now < seen.resting_until:
        return ElectionDecision(
            False, seen.resting_reason, min(seen.resting_until, now + SECOND)
        )
    better = [peer for peer in fresh if _is_better(peer, seen)]
    start = max(lost_at + len(better) * DEFERENCE, seen.stepped_at + COOLDOWN)
    if now < start or seen.stepping:
        first = better[0].address if better else seen.me
        wake_at = start if now < start else now + seen.timing.heartbeat
        return ElectionDecision(
            False, f"{name} is silent; {first} stands first", wake_at
        )
    return ElectionDecision(
        True, f"{name} is silent: standing for election", now + COOLDOWN
    )


def _other_primary(seen: Observation, now: int) -> Peer | None:
    return next(
        (peer for peer in seen.peers if peer.writable and seen.is_heard(peer, now)),
        None,
    )


def _last_primary(seen: Observation) -> Peer | None:
    if seen.sighting is None:
        return None
    return seen.peer(seen.sighting.document.holder)


def _peer_hearing_primary(seen: Observation, primary: str, now: int) -> str | None:
    """Find a peer that still hears *primary*: then only our link is broken."""
    return next(
        (
            peer.address
            for peer in seen.peers
            if primary in peer.hears and seen.is_heard(peer, now)
        ),
        None,
    )


def _unheard_since(seen: Observation, lost_at: int, now: int) -> str | None:
    """Find a peer whose oplog may have grown since its heartbeat: both would stand."""
    return next(
        (
            peer.address
            for peer in seen.peers
            if peer.heard_at < lost_at and seen.is_heard(peer, now)
        ),
        None,
    )


def _silent_from(seen: Observation, primary: Peer) -> int:
    """Return when *primary* counts as lost: it is gone, or has been silent too long."""
    if not primary.heard_at:
        # Never heard since we know of it: MongoDB itself decides whether it lives.
        return NEVER
    if primary.lost_at:
        return primary.lost_at
    # A lease that goes on changing proves more than a heartbeat: a node too busy to
    # answer one still holds the role, and an election would only take it away.
    renewed_at = seen.sighting.changed_at if seen.sighting else 0
    claimed_at = primary.heard_at if _claims(seen, primary) else 0
    return max(claimed_at, renewed_at) + seen.timing.step_up_after


def _claims(seen: Observation, primary: Peer) -> bool:
    """Return whether it says so, or our member says so and it was not asked since."""
    if primary.writable:
        return True
    named = seen.member is not None and seen.member.primary == primary.address
    return named and primary.heard_at < seen.named_at


def _is_better(peer: Peer, seen: Observation) -> bool:
    """Return whether *peer* stands first: the newer oplog, then the lower member id."""
    if peer.state != "SECONDARY" or peer.resting:
        return False
    return (-peer.optime[0], -peer.optime[1], peer.member_id) < (
        -seen.optime[0],
        -seen.optime[1],
        seen.member_id,
    )


def unresponsive_peers(seen: Observation, now: int) -> frozenset[str]:
    """Return the addresses of silent nodes that our member may be waiting for."""
    primary = seen.member.primary if seen.member else None
    if primary is None or now > seen.named_at + AFTER_AN_ELECTION * seen.timing.ttl:
        return frozenset()
    return frozenset(
        peer.address
        for peer in seen.peers
        if peer.address != primary and not seen.is_heard(peer, now)
    )


def all_peers_silent(seen: Observation, now: int) -> bool:
    """Return whether there are other nodes, and none of them can be asked now."""
    return bool(seen.peers) and not any(seen.is_heard(p, now) for p in seen.peers)
