"""The fences of the protocol, each as what it takes to remove it.

`make test` removes one at a time and demands that the simulation notices.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from plugins.ha.consensus import decision, lease, transitions
from plugins.ha.consensus.lease import LeaseDocument, ObservedLease
from plugins.ha.consensus.state import Observation
from plugins.ha.peers import heartbeats
from plugins.ha.peers.heartbeats import Heartbeat
from tests.simulation import mongod, oplog, server
from tests.simulation.faults import Fault
from tests.simulation.run import Plan
from tests.simulation.world import SECOND

Patch = tuple[object, str, Any]


@dataclass(frozen=True, slots=True)
class Fence:
    """What protects, the *patches* that take it away, and faults that press on it."""

    name: str
    patches: tuple[Patch, ...]
    kinds: tuple[str, ...] = ()
    script: tuple[Fault, ...] = ()
    ttl: float = 3
    lease: str = "fixed"

    def plan(self, seed: int) -> Plan:
        """The run of *seed* that may notice that it is gone."""
        if self.script:
            ttl = int(self.ttl * SECOND)
            return Plan.scripted(seed, self.script, ttl, self.lease)
        return Plan.drawn(seed, self.kinds)


def _fault(at: float, kind: str, node: int, length: float) -> Fault:
    other = (node + 1) % 3
    return Fault(int(at * SECOND), kind, node, other, 2 * int(length * SECOND / 2))


def _held_from_the_answer(
    observation: Observation, document: LeaseDocument, sent_at: int, now: int
) -> Observation:
    return HELD(observation, document, now, now)


def _free(half: Callable[[ObservedLease], int]) -> Callable[..., int]:
    def available_at(
        observed: ObservedLease, *, self_address: str, holder_renounced: bool
    ) -> int:
        found = FREE_AT(
            observed, self_address=self_address, holder_renounced=holder_renounced
        )
        return found and half(observed)

    return available_at


def _renounced_whenever(observation: Observation, observed: ObservedLease) -> bool:
    """Believes what the holder said before the lease was seen."""
    document = observed.document
    holder = observation.peer(document.holder)
    if holder is None or not holder.heard_at:
        return False
    return holder.serving_epoch != document.epoch and not holder.acquire_pending


def _heartbeat(**changes: Any) -> Callable[..., Heartbeat]:
    def heartbeat_payload(observation: Observation, reason: str, now: int) -> Heartbeat:
        return HEARTBEAT_OF(observation, reason, now).model_copy(update=changes)

    return heartbeat_payload


def _holding_only(observation: Observation, reason: str, now: int) -> Heartbeat:
    epoch = observation.held_lease.document.epoch if observation.held_lease else 0
    return HEARTBEAT_OF(observation, reason, now).model_copy(
        update={"serving_epoch": epoch}
    )


def _held_again(
    observation: Observation, document: LeaseDocument, sent_at: int, now: int
) -> Observation:
    return HELD(
        replace(observation, last_renounced_epoch=0, cooldown_until=0),
        document,
        sent_at,
        now,
    )


def _never_lost(observation: Observation, held: lease.HeldLease, now: int) -> None:
    return None


def _own_ttl(observation: Observation, now: int) -> Any:
    """Waits out this node's own ttl, not the one that the holder was promised."""
    observed = observation.observed_lease
    if observed is not None and not observed.document.released:
        document = replace(observed.document, ttl=observation.timing.lease.start)
        observation = replace(
            observation, observed_lease=replace(observed, document=document)
        )
    return CANDIDATE(observation, now)


HELD = transitions.lease_acknowledged
FREE_AT = lease.available_at
HEARTBEAT_OF = heartbeats.heartbeat_payload
CANDIDATE = decision._as_candidate

CUT = ("isolated", "isolated from databases", "deaf", "mute")
FROZEN = ("frozen", "brain frozen", "database frozen")

FENCES = (
    Fence(
        "the deadline counts from before the request",
        ((transitions, "lease_acknowledged", _held_from_the_answer),),
        script=(_fault(0, "late answers", 0, 5), _fault(0.8, "isolated", 0, 4)),
        ttl=1,
    ),
    Fence(
        "the holder uses only 0.8 of its ttl",
        ((lease, "SAFE_FRACTION", 1.0),),
        (*CUT, *FROZEN),
    ),
    Fence(
        "a new holder waits for a full ttl",
        (
            (
                decision,
                "available_at",
                _free(lambda s: s.changed_at + s.document.ttl // 2),
            ),
        ),
        (*CUT, *FROZEN),
    ),
    Fence(
        "a heartbeat counts only when asked for after the lease was seen",
        ((decision, "_holder_renounced", _renounced_whenever),),
        script=(
            _fault(0, "node link cut", 1, 6),
            _fault(0.5, "election", 1, 0),
            _fault(2, "isolated", 0, 4),
        ),
    ),
    Fence(
        "a heartbeat says whether a take is in flight",
        ((heartbeats, "heartbeat_payload", _heartbeat(acquire_pending=False)),),
        script=(
            _fault(0, "late answers", 1, 5),
            _fault(0.2, "election", 1, 0),
            _fault(0.6, "isolated from databases", 1, 4),
            _fault(0.7, "election", 2, 0),
        ),
    ),
    Fence(
        "a heartbeat holds on to the epoch until the ports are closed",
        ((heartbeats, "heartbeat_payload", _holding_only),),
        script=(_fault(0, "brain frozen", 0, 1.5), _fault(0.3, "election", 1, 0)),
    ),
    Fence(
        "a renounced epoch is never held again",
        ((transitions, "lease_acknowledged", _held_again),),
        script=(
            _fault(0, "late answers", 0, 5),
            _fault(0.5, "switchover", 0, 1),
            _fault(0.9, "isolated from databases", 0, 4),
        ),
    ),
    Fence(
        "the lease is changed by compare-and-set",
        ((oplog, "matches", lambda found, expected: True),),
        script=(
            _fault(0, "brain frozen", 1, 1.5),
            _fault(1.1, "isolated", 0, 4),
            _fault(1.35, "election", 1, 0),
        ),
        ttl=1,
    ),
    Fence(
        "only a majority's acknowledgement counts",
        ((mongod, "MAJORITY", 1),),
        CUT,
    ),
    Fence(
        "the holder's ttl is in the lease",
        ((decision, "_as_candidate", _own_ttl),),
        script=(_fault(0, "late answers", 0, 2), _fault(2.2, "isolated", 0, 4)),
        ttl=1.5,
        lease="adaptive",
    ),
    Fence(
        "a shorter lease binds its holder before others can see it",
        ((lease.HeldLease, "shortened", lambda self, ttl, now: self),),
        script=(_fault(0, "deaf", 0, 5), _fault(0.8, "isolated", 0, 4)),
        ttl=1,
        lease="random",
    ),
    Fence(
        "the servers look at the permit themselves",
        ((server.Ports, "fenced", False),),
        ("brain frozen", "frozen", "ports slow"),
    ),
    Fence(
        "the node closes when its deadline passes or its member is no primary",
        ((decision, "_loss_reason", _never_lost),),
    ),
)
