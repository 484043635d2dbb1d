"""Which nodes need not be waited for: those that are silent.

Pure.
"""

from plugins.ha.consensus.state import Observation

#: In lease times. Later nobody waits for the primary of before, and who is silent may
#: only be slow.
AFTER_AN_ELECTION = 2


def given_up(seen: Observation, now: int) -> frozenset[str]:
    """The addresses of the nodes from which our member expects an answer in vain."""
    primary = seen.member.primary if seen.member else None
    if primary is None or now > seen.named_at + AFTER_AN_ELECTION * seen.timing.ttl:
        return frozenset()
    return frozenset(
        peer.address
        for peer in seen.peers
        if peer.address != primary and not seen.is_heard(peer, now)
    )


def all_silent(seen: Observation, now: int) -> bool:
    """Whether there are other nodes, and none of them can be asked now."""
    return bool(seen.peers) and not any(seen.is_heard(p, now) for p in seen.peers)
