"""The phases in which a cluster moves to the certificates of its own authority.

A node of an earlier release shows, and accepts, certificates of the one authority
that Defenders have too. No node may show what another does not accept, so every node
goes on only when all others have come as far.
"""

from collections.abc import Iterable
from enum import IntEnum


class TrustPhase(IntEnum):
    """What a node shows to MongoDB and node API of others, and accepts at its own."""

    #: Not known: the node does not answer, or its release has no such certificates.
    UNKNOWN = 0
    #: Shows the certificate of before, accepts both kinds.
    ACCEPT_BOTH = 1
    #: Shows that of the cluster's authority, accepts both kinds.
    PRESENT_CLUSTER = 2
    #: Shows and accepts certificates of the cluster's authority alone.
    CLUSTER_ONLY = 3


def next_phase(own: TrustPhase, others: Iterable[TrustPhase]) -> TrustPhase | None:
    """Return the phase after *own*; None while one of the *others* is behind it."""
    if own is TrustPhase.CLUSTER_ONLY or any(other < own for other in others):
        return None
    return TrustPhase(own + 1)
