"""A cluster of three, sketched in one call: what the tests of decisions start from.

We are A, with the lowest member id; B and C were heard a tenth of a second ago.
"""

from dataclasses import replace
from typing import Any

from plugins.ha.consensus.lease import HeldLease, LeaseDocument, ObservedLease
from plugins.ha.consensus.lease_duration import LeaseBounds
from plugins.ha.consensus.state import Member, Observation, Peer, Timing

MS = 1_000_000
SECOND = 1_000_000_000
NOW = 1_000 * SECOND
A, B, C = "10.0.0.1", "10.0.0.2", "10.0.0.3"
IDS = {A: 0, B: 1, C: 2}
TTL = 1500 * MS
TIMING = Timing(
    lease=LeaseBounds.fixed(TTL), step_up_after=700 * MS, heartbeat_interval=200 * MS
)

PRIMARY = Member("PRIMARY", writable=True, primary=A)
SECONDARY = Member("SECONDARY", writable=False, primary=B)
LEASE = LeaseDocument(A, epoch=7, seq=40, ttl=TTL, released=False, token="t7")
LEASE_OF_B = replace(LEASE, holder=B)
#: Its deadline is 1100 ms from now, and it is renewed in 150 ms.
HOLD = HeldLease.acknowledged(LEASE, NOW - 100 * MS)


def observed(document: LeaseDocument, ago: int) -> ObservedLease:
    """*document*, which changed last *ago* milliseconds before now."""
    return ObservedLease(document, NOW - ago * MS)


def peer(address: str, ago: int | None = 100, **changes: Any) -> Peer:
    """A healthy standby heard *ago* milliseconds before now, or never."""
    healthy = Peer(
        address,
        IDS[address],
        heard_at=0 if ago is None else NOW - ago * MS,
        state="SECONDARY",
        mongod_alive=True,
        acquire_pending=False,
        version="1.0",
    )
    return replace(healthy, **changes)


def observe(*peers: Peer, **known: Any) -> Observation:
    """What A knows: two healthy standbys, but for *peers* and what is *known*."""
    by_address = {p.address: p for p in (peer(B), peer(C), *peers)}
    start = Observation(
        self_address=A, member_id=0, timing=TIMING, peers=tuple(by_address.values())
    )
    return replace(start, **known)
