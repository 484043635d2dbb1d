"""Observations to test decisions with: a cluster of three in its usual states."""

from dataclasses import replace
from typing import Any

from plugins.ha.consensus.lease import HeldLease, LeaseDocument, ObservedLease
from plugins.ha.consensus.lease_duration import LeaseBounds
from plugins.ha.consensus.state import Member, Observation, Peer, Timing

MS = 1_000_000
SECOND = 1000 * MS
NOW = 1000 * SECOND
TTL = 1500 * MS
TIMING = Timing(
    lease=LeaseBounds.fixed(TTL), step_up_after=700 * MS, heartbeat_interval=200 * MS
)
ME, OTHER, THIRD = "10.0.0.1", "10.0.0.2", "10.0.0.3"
PRIMARY = Member("PRIMARY", writable=True, primary=ME)
SECONDARY = Member("SECONDARY", writable=False, primary=OTHER)


def lease(holder: str = OTHER, **changes: Any) -> LeaseDocument:
    """A lease that *holder* has."""
    document = LeaseDocument(holder, 7, 40, TTL, released=False, token="t")
    return replace(document, **changes)


def peer(address: str = OTHER, **changes: Any) -> Peer:
    """A healthy standby that was heard 100 ms ago."""
    standby = Peer(
        address,
        member_id=int(address[-1]),
        heard_at=NOW - 100 * MS,
        state="SECONDARY",
        mongod_alive=True,
        optime=(100, 1),
        acquire_pending=False,
    )
    return replace(standby, **changes)


def serving_peer(address: str = OTHER, **changes: Any) -> Peer:
    """A primary that was heard 100 ms ago."""
    found = peer(address, state="PRIMARY", writable=True, serving_epoch=7)
    return replace(found, primary_claimed_at=found.heard_at, **changes)


def standby(**changes: Any) -> Observation:
    """This node stands by; OTHER is primary and renewed its lease 100 ms ago."""
    observation = Observation(
        self_address=ME,
        member_id=1,
        timing=TIMING,
        member=SECONDARY,
        observed_lease=ObservedLease(lease(), NOW - 100 * MS),
        peers=(serving_peer(), peer(THIRD)),
        optime=(100, 1),
    )
    return replace(observation, **changes)


def orphan(silent_ms: int = 800, **changes: Any) -> Observation:
    """OTHER, the primary, has been silent for so long; THIRD is well."""
    since = NOW - silent_ms * MS
    lost = serving_peer(heard_at=since)
    lost = replace(lost, primary_claimed_at=since)
    observation = standby(
        observed_lease=ObservedLease(lease(), since), peers=(lost, peer(THIRD))
    )
    return replace(observation, **changes)


def candidate(**changes: Any) -> Observation:
    """Our member was just elected; the lease was OTHER's, seen 400 ms ago."""
    observation = standby(
        member=PRIMARY,
        observed_lease=ObservedLease(lease(), NOW - 400 * MS),
        peers=(serving_peer(heard_at=NOW - 900 * MS), peer(THIRD)),
    )
    return replace(observation, **changes)


def holder(**changes: Any) -> Observation:
    """This node holds the lease, renewed 100 ms ago."""
    document = lease(ME)
    observation = candidate(
        observed_lease=ObservedLease(document, NOW - 100 * MS),
        held_lease=HeldLease.acknowledged(document, NOW - 100 * MS),
        peers=(peer(), peer(THIRD)),
    )
    return replace(observation, **changes)
