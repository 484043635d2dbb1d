"""Define the lease: the one document that says which node may serve, and until when.

Pure. Each new holder gets a higher epoch, the fencing token of everything that it does.
Times are nanoseconds of this node's own boot-time clock; the clocks of two nodes are
never compared.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Self

#: The share of the ttl after which the holder has stopped; others wait the full ttl.
SAFE_FRACTION = 0.8
RENEWALS_PER_TTL = 6
#: A request about the lease takes at most this part of the ttl that it stores: one that
#: began when it was due is answered or given up before the deadline.
REQUEST_FRACTION = 0.5


@dataclass(frozen=True, slots=True)
class LeaseDocument:
    """The lease as the database stores it.

    Attributes:
        holder: Address of the node that holds it; "" if it was never held.
        epoch: Grows by one with each new holder.
        seq: Grows by one with each write.
        ttl: Nanoseconds without renewal after which others may acquire it. It is the
            holder's own setting: others wait as long as the holder was promised.
        released: Whether its holder gave it up.
        token: Random; distinguishes two acquisitions that are equal except for a
            rollback between them.
    """

    holder: str
    epoch: int
    seq: int
    ttl: int
    released: bool
    token: str = ""

    @classmethod
    def from_stored(cls, stored: Mapping[str, Any]) -> Self:
        """Build the lease from the document that the database returns."""
        return cls(
            holder=str(stored["holder"]),
            epoch=int(stored["epoch"]),
            seq=int(stored["seq"]),
            ttl=int(stored["ttl"]),
            released=bool(stored["released"]),
            token=str(stored.get("token", "")),
        )

    def acquired_by(self, holder: str, ttl: int, token: str) -> "LeaseDocument":
        """Return the lease as *holder* acquires it; *token* was never used before."""
        return LeaseDocument(
            holder=holder,
            epoch=self.epoch + 1,
            seq=self.seq + 1,
            ttl=ttl,
            released=False,
            token=token,
        )

    def renewed(self, ttl: int) -> "LeaseDocument":
        """Return the lease as its holder renews it, to last for *ttl*."""
        return replace(self, seq=self.seq + 1, ttl=ttl)

    def as_released(self) -> "LeaseDocument":
        """Return the lease as its holder releases it."""
        return replace(self, seq=self.seq + 1, released=True)


NEVER_HELD = LeaseDocument(holder="", epoch=0, seq=0, ttl=0, released=True)


@dataclass(frozen=True, slots=True)
class ObservedLease:
    """The lease as this node last saw it change; *changed_at* is when."""

    document: LeaseDocument
    changed_at: int

    def updated(self, document: LeaseDocument, now: int) -> "ObservedLease":
        """Return the observed lease after *document* was read at *now*.

        Reading an unchanged document does not extend the wait.
        """
        if document == self.document:
            return self
        return ObservedLease(document, now)


@dataclass(frozen=True, slots=True)
class HeldLease:
    """The lease while this node holds it.

    Attributes:
        document: The lease as a majority last acknowledged it.
        deadline: When the ports must be closed, unless it was renewed.
        renew_at: When the next renewal is due.
    """

    document: LeaseDocument
    deadline: int
    renew_at: int

    def shortened(self, ttl: int, now: int) -> "HeldLease":
        """Return the lease while a request of *now* may make it last for *ttl* alone.

        That request may be stored although its acknowledgement never comes.
        """
        return replace(
            self, deadline=min(self.deadline, now + int(ttl * SAFE_FRACTION))
        )

    @classmethod
    def acknowledged(cls, document: LeaseDocument, sent_at: int) -> Self:
        """Return the held lease after a majority acknowledged a write.

        The deadline counts from *sent_at*, when the write was sent: others saw the
        change later than that, so this node stops before one of them starts.
        """
        return cls(
            document=document,
            deadline=sent_at + int(document.ttl * SAFE_FRACTION),
            renew_at=sent_at + document.ttl // RENEWALS_PER_TTL,
        )


def available_at(
    observed: ObservedLease, *, self_address: str, holder_renounced: bool
) -> int:
    """Return when this node may acquire the *observed* lease; 0 means at once.

    A holder that renounced has said, after we observed this epoch, that its ports are
    closed and that it never serves under the epoch again. A lease that this node held
    before needs no wait: this process closed its ports before it asks.
    """
    document = observed.document
    if document.released or document.holder == self_address or holder_renounced:
        return 0
    return observed.changed_at + document.ttl
