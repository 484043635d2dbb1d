"""The fences of the protocol, each as what it takes to remove it.

`make test` removes one at a time and demands that the simulation notices.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from plugins.ha import decision, heartbeats, lease, transitions
from plugins.ha.lease import LeaseDocument, LeaseSighting
from plugins.ha.observation import Observation, Ports
from tests.simulation import mongod, server

Patch = tuple[object, str, Any]


@dataclass(frozen=True, slots=True)
class Fence:
    """What protects, and the *patches* that take it away."""

    name: str
    patches: tuple[Patch, ...]


def _held_from_the_answer(
    seen: Observation, document: LeaseDocument, sent_at: int, now: int
) -> Observation:
    return HELD(seen, document, now, now)


def _free(half: Callable[[LeaseSighting], int]) -> Callable[..., int]:
    def free_at(sighting: LeaseSighting, *, me: str, holder_renounced: bool) -> int:
        found = FREE_AT(sighting, me=me, holder_renounced=holder_renounced)
        return found and half(sighting)

    return free_at


def _renounced_whenever(seen: Observation) -> bool:
    """Believes what the holder said before the lease was seen."""
    if seen.sighting is None:
        return False
    document = seen.sighting.document
    holder = seen.peer(document.holder)
    said = holder is not None and holder.heard_at > 0
    return said and holder.holding != document.epoch and not holder.taking


def _testimony(**changes: Any) -> Callable[..., dict[str, Any]]:
    def testimony(seen: Observation, reason: str, now: int) -> dict[str, Any]:
        return {**TESTIMONY(seen, reason, now), **changes}

    return testimony


def _holding_only(seen: Observation, reason: str, now: int) -> dict[str, Any]:
    epoch = seen.hold.document.epoch if seen.hold else 0
    return {**TESTIMONY(seen, reason, now), "holding": epoch}


def _held_again(
    seen: Observation, document: LeaseDocument, sent_at: int, now: int
) -> Observation:
    return HELD(replace(seen, renounced=0), document, sent_at, now)


def _never_lost(seen: Observation, hold: lease.Hold, now: int) -> None:
    return None


def _own_ttl(seen: Observation, now: int) -> Any:
    """Waits out this node's own ttl, not the one that the holder was promised."""
    sighting = seen.sighting
    if sighting is not None and not sighting.document.released:
        document = replace(sighting.document, ttl=seen.timing.ttl)
        seen = replace(seen, sighting=replace(sighting, document=document))
    return CANDIDATE(seen, now)


def _closed_at_once(seen: Observation, action: Any, reason: str, now: int) -> Any:
    begun = BEGUN(seen, action, reason, now)
    if begun.ports is Ports.CLOSING and seen.hold is None:
        return replace(begun, ports=Ports.CLOSED)
    return begun


HELD = transitions.lease_held
FREE_AT = lease.free_at
TESTIMONY = heartbeats.testimony
CANDIDATE = decision._as_candidate  # noqa: SLF001
BEGUN = transitions.begun

FENCES: Mapping[str, tuple[Patch, ...]] = {
    "the deadline counts from before the request": (
        (transitions, "lease_held", _held_from_the_answer),
    ),
    "the holder uses only 0.8 of its ttl": ((lease, "USABLE", 1.0),),
    "a new holder waits for a full ttl": (
        (decision, "free_at", _free(lambda s: s.changed_at + s.document.ttl // 2)),
    ),
    "testimony counts only when asked for after the lease was seen": (
        (decision, "_holder_renounced", _renounced_whenever),
    ),
    "testimony says whether a lease request is in flight": (
        (heartbeats, "testimony", _testimony(taking=False)),
    ),
    "testimony holds on to the epoch until the ports are closed": (
        (heartbeats, "testimony", _holding_only),
    ),
    "a renounced epoch is never renewed": ((transitions, "lease_held", _held_again),),
    "the lease is changed by compare-and-set": (
        (mongod, "matches", lambda found, expected: True),
    ),
    "only a majority's acknowledgement counts": (
        (mongod, "MAJORITY", 1),
    ),
    "the holder's ttl is in the lease": ((decision, "_as_candidate", _own_ttl),),
    "the servers look at the permit themselves": (
        (server.Ports, "fenced", False),
    ),
    "the node closes when its deadline passes": ((decision, "_lost", _never_lost),),
}
