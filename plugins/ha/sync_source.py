"""Which nodes our member need not wait for: silent, with another primary known.

Pure.
"""

from plugins.ha.observation import Observation


def given_up(seen: Observation, now: int) -> frozenset[str]:
    """The addresses of the nodes from which our member expects an answer in vain."""
    primary = seen.member.primary if seen.member else None
    if primary is None:
        return frozenset()
    return frozenset(
        peer.address
        for peer in seen.peers
        if peer.address != primary
        and (peer.refused or now > peer.heard_at + seen.timing.step_up_after)
    )
