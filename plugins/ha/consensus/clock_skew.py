"""Decide when to restart a member whose clock was set back.

Pure. Much in MongoDB 6.0 waits by the wall clock, so that a wait under way grows by as
much as the clock is set back. One such wait is between a primary's writes and their
visibility to the standbys (`WiredTigerOplogManager`): a standby whose thread for that
is stuck replicates and votes as usual, but as primary it gets no majority. Only a
restart ends the wait sooner.
"""

from dataclasses import dataclass, replace

from plugins.ha.consensus.state import Observation, Peer

SECOND = 1_000_000_000
#: A step back up to this changes nothing: an election takes as long.
MAX_HARMLESS_STEP_NS = SECOND
#: Time reserved for each restart, longer than a member takes to start and to catch up:
#: two must not be down at once.
RESTART_SLOT_NS = 15 * SECOND
READABLE_STATES = ("PRIMARY", "SECONDARY")
REASON = (
    "the clock of this host was set back, which delays its database; the database is "
    "restarted as soon as the cluster can do without it"
)


@dataclass(frozen=True, slots=True)
class MemberClock:
    """Estimates the skew of a member's wall clock, from samples of it.

    Attributes:
        offset: Nanoseconds that it was ahead of the boot-time clock at least; None
            before the first sample.
        noticed_at: When it was last found set back.
        until: Until when waits of the member may be too long.
    """

    offset: int | None = None
    noticed_at: int = 0
    until: int = 0

    def add_sample(self, reported: int, sent: int, received: int) -> "MemberClock":
        """Return the estimate after a sample.

        The clock *reported* its time between *sent* and *received*.
        """
        at_least, at_most = reported - received, reported - sent
        if self.offset is None:
            return replace(self, offset=at_least)
        step = self.offset - at_most
        if step > MAX_HARMLESS_STEP_NS:
            until = max(self.until, received + step + SECOND)
            return MemberClock(at_least, received, until)
        return replace(self, offset=max(self.offset, at_least))


def may_restart(observation: Observation, clock: MemberClock, now: int) -> bool:
    """Return whether our member may restart: the cluster can do without it now."""
    if (
        observation.held_lease is not None
        or observation.election_step_pending
        or not _is_synced(observation)
    ):
        return False
    if now < clock.noticed_at + _peers_before_us(observation) * RESTART_SLOT_NS:
        return False
    serving = any(
        p.serving_epoch and observation.is_reachable(p, now) for p in observation.peers
    )
    return not serving or all(
        _is_healthy(observation, p, now) for p in observation.peers
    )


def _is_synced(observation: Observation) -> bool:
    return (
        observation.member is not None and observation.member.state in READABLE_STATES
    )


def _peers_before_us(observation: Observation) -> int:
    """Count the peers that may have the same problem and restart before us."""
    if observation.member is not None and observation.member.writable:
        return 0
    return sum(
        not p.writable and p.member_id < observation.member_id
        for p in observation.peers
    )


def _is_healthy(observation: Observation, peer: Peer, now: int) -> bool:
    return (
        peer.state in READABLE_STATES
        and peer.mongod_alive
        and observation.is_reachable(peer, now)
    )
