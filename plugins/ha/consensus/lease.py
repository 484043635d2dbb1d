"""The lease: the one document that says which node may serve, and until when.

Pure. Times are nanoseconds of this node's own boot-time clock; two nodes' clocks
are never compared.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Self

# The holder stops this much earlier than others may take over.
SAFE_FRACTION = 0.8
RENEWALS_PER_TTL = 6


@dataclass(frozen=True, slots=True)
class LeaseDocument:
    """The lease as stored; *epoch* grows by one with each new holder.

    *ttl* is the holder's, in nanoseconds: others must wait out what it was promised.
    *token* tells two takings apart that are alike but for a rollback between them.
    """

    holder: str
    epoch: int
    seq: int
    ttl: int
    released: bool
    token: str = ""

    @classmethod
    def from_stored(cls, stored: Mapping[str, Any]) -> Self:
        """Read the document that the database returns."""
        return cls(
            holder=str(stored["holder"]),
            epoch=int(stored["epoch"]),
            seq=int(stored["seq"]),
            ttl=int(stored["ttl"]),
            released=bool(stored["released"]),
            token=str(stored.get("token", "")),
        )

    def acquired_by(self, holder: str, ttl: int, token: str) -> "LeaseDocument":
        """Return the lease after *holder* took it, with a *token* never used before."""
        return LeaseDocument(
            holder=holder,
            epoch=self.epoch + 1,
            seq=self.seq + 1,
            ttl=ttl,
            released=False,
            token=token,
        )

    def renewed(self) -> "LeaseDocument":
        """Return the lease after one more renewal."""
        return replace(self, seq=self.seq + 1)

    def as_released(self) -> "LeaseDocument":
        """Return the lease after its holder released it."""
        return replace(self, seq=self.seq + 1, released=True)


NEVER_HELD = LeaseDocument(holder="", epoch=0, seq=0, ttl=0, released=True)


@dataclass(frozen=True, slots=True)
class ObservedLease:
    """The lease as this node last saw it change, and when."""

    document: LeaseDocument
    changed_at: int

    def updated(self, document: LeaseDocument, now: int) -> "ObservedLease":
        """Return the observed lease after *document* was read at *now*."""
        if document == self.document:
            return self
        return ObservedLease(document, now)


@dataclass(frozen=True, slots=True)
class HeldLease:
    """This node's own holding of the lease.

    *deadline* is when it must have closed its ports unless it renewed.
    """

    document: LeaseDocument
    deadline: int
    renew_at: int

    @classmethod
    def acknowledged(cls, document: LeaseDocument, sent_at: int) -> Self:
        """Return the lease that an acknowledged write, sent at *sent_at*, gives."""
        return cls(
            document=document,
            deadline=sent_at + int(document.ttl * SAFE_FRACTION),
            renew_at=sent_at + document.ttl // RENEWALS_PER_TTL,
        )


def available_at(
    observed: ObservedLease, *, self_address: str, holder_renounced: bool
) -> int:
    """Return when this node may take the lease; 0 means at once.

    A holder that renounced has said, after we saw this epoch, that its ports are
    closed and that it will never serve under the epoch again. Our own earlier
    hold needs no wait: this process closed its ports before it asks.
    """
    document = observed.document
    if document.released or document.holder == self_address or holder_renounced:
        return 0
    return observed.changed_at + document.ttl
