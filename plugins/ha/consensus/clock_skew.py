"""When a member is started anew because its clock was set back.

Pure. Much in MongoDB 6.0 waits by the wall clock, so that a wait that is under way
grows by as much as the clock is set back. One of them is between a primary's writes
and their being shown to the standbys (`WiredTigerOplogManager`): a standby whose thread
for that is stuck follows and votes as ever, but as primary it has no majority. Only a
new start ends it sooner.
"""

from dataclasses import dataclass, replace

from plugins.ha.consensus.state import Observation, Peer

SECOND = 1_000_000_000
#: A wait longer by so much changes nothing: an election takes as long.
HARMLESS = SECOND
#: Longer than a member takes to start and to catch up: two must not be away at once.
TURN = 15 * SECOND
STATES = ("PRIMARY", "SECONDARY")
REASON = (
    "the clock of this host was set back, and its database waits by it; the database "
    "starts anew when nobody needs it"
)


@dataclass(frozen=True, slots=True)
class MemberClock:
    """A member's clock: how far *ahead* of the boot-time clock it was at least.

    It was last found set back at *noticed_at*; waits may be too long until *until*.
    """

    ahead: int | None = None
    noticed_at: int = 0
    until: int = 0

    def add_sample(self, reported: int, sent: int, received: int) -> "MemberClock":
        """Return the clock, which *reported* its time between *sent* and *received*."""
        at_least, at_most = reported - received, reported - sent
        if self.ahead is None:
            return replace(self, ahead=at_least)
        step = self.ahead - at_most
        if step > HARMLESS:
            until = max(self.until, received + step + SECOND)
            return MemberClock(at_least, received, until)
        return replace(self, ahead=max(self.ahead, at_least))


def may_restart(seen: Observation, clock: MemberClock, now: int) -> bool:
    """Return whether our member may be away: no node serves, or all others are well."""
    if seen.hold is not None or seen.stepping or not _has_copied(seen):
        return False
    if now < clock.noticed_at + _before_us(seen) * TURN:
        return False
    serving = any(p.holding and seen.is_heard(p, now) for p in seen.peers)
    return not serving or all(_is_well(seen, p, now) for p in seen.peers)


def _has_copied(seen: Observation) -> bool:
    return seen.member is not None and seen.member.state in STATES


def _before_us(seen: Observation) -> int:
    """Count the peers that may have the same problem and restart before us."""
    if seen.member is not None and seen.member.writable:
        return 0
    return sum(not p.writable and p.member_id < seen.member_id for p in seen.peers)


def _is_well(seen: Observation, peer: Peer, now: int) -> bool:
    return peer.state in STATES and peer.mongod_alive and seen.is_heard(peer, now)
