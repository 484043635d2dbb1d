"""The phases in which a cluster migrates to the certificates of its own authority.

A node of an earlier release presents, and accepts, certificates of the one authority
that Defenders have too. No node may present a certificate that another does not accept,
so each node enters the next phase only when all others have reached its own.
"""

from collections.abc import Iterable
from enum import IntEnum


class TrustPhase(IntEnum):
    """A phase: the certificate that a node presents to others, and those it accepts."""

    #: Not known: the node does not answer, or its release has no such certificates.
    UNKNOWN = 0
    #: Presents the old certificate, accepts both kinds.
    ACCEPT_BOTH = 1
    #: Presents that of the cluster's authority, accepts both kinds.
    PRESENT_CLUSTER = 2
    #: Presents and accepts certificates of the cluster's authority alone.
    CLUSTER_ONLY = 3


def next_phase(own: TrustPhase, others: Iterable[TrustPhase]) -> TrustPhase | None:
    """Return the phase after *own*; None while one of the *others* is behind it."""
    if own is TrustPhase.CLUSTER_ONLY or any(other < own for other in others):
        return None
    return TrustPhase(own + 1)
