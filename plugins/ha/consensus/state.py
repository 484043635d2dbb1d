"""The state of a node as values: what it knows, and what a decision may ask for.

Pure. `Observation` is the input of every decision, `Action` its output. Times are
nanoseconds of this node's own boot-time clock.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from plugins.ha.consensus.lease import HeldLease, LeaseDocument, ObservedLease


class Ports(StrEnum):
    """What the service ports of this node do; paused ones were closed on purpose."""

    CLOSED = "closed"
    OPENING = "opening"
    OPEN = "open"
    CLOSING = "closing"
    FAILED = "failed"
    PAUSED = "paused"


@dataclass(frozen=True, slots=True)
class Member:
    """Our own mongod as its last `hello` told; *state* is MongoDB's word.

    *primary* is the address of the node whose member it follows, if any.
    """

    state: str
    writable: bool
    primary: str | None = None
    alive: bool = True


DEAD_MEMBER = Member(state="DOWN", writable=False, alive=False)


@dataclass(frozen=True, slots=True)
class Peer:
    """Another node, as its last heartbeat told.

    *heard_at* is when the request whose answer arrived was **sent**; what it says
    was true some time after that. *refused* means that its host answered and
    nothing listens on the node API. *lost_at* is when it was first found to refuse,
    or to have no mongod that runs; 0 while neither is so. *claimed_at* is when it was
    last asked and said that its member is writable. *optime* orders members by how
    recent their oplog is. *holding* is the epoch it serves under, 0 when it serves
    under none; *taking* that it may get one by a request in flight. *hears* names
    the writable primaries it heard a moment ago. *reason* is its own sentence on why
    it serves, or not, *cause* why its database cannot be used, if so. *well_since* is
    when it was first heard to be well, without a gap since.
    """

    address: str
    member_id: int
    heard_at: int = 0
    refused: bool = False
    lost_at: int = 0
    claimed_at: int = 0
    state: str = "UNKNOWN"
    writable: bool = False
    mongod_alive: bool = False
    primary: str | None = None
    optime: tuple[int, int] = (0, 0)
    holding: int = 0
    taking: bool = True
    hears: tuple[str, ...] = ()
    resting: bool = False
    version: str = ""
    reason: str = ""
    cause: str = ""
    well_since: int = 0

    @property
    def is_well(self) -> bool:
        """Return whether it was a standby that stores, when it was last heard."""
        fit = self.state == "SECONDARY" and self.mongod_alive
        return fit and not self.refused and not self.resting


@dataclass(frozen=True, slots=True)
class FailedServer:
    """A service server that failed *count* times in a row, last at *failed_at*.

    *is_closed* until it is open again.
    """

    name: str
    count: int
    failed_at: int
    is_closed: bool = True


@dataclass(frozen=True, slots=True)
class Handover:
    """A switchover that was asked for; *target* is None for the best standby."""

    target: str | None
    reason: str


@dataclass(frozen=True, slots=True)
class Timing:
    """How long each wait is, in nanoseconds."""

    ttl: int
    step_up_after: int
    heartbeat: int


@dataclass(frozen=True, slots=True)
class Observation:
    """Everything a decision looks at.

    *member* is None while our mongod has not answered lately: its role is unknown.
    *named_at* is when it began to name another primary than before, *writable_since*
    when our member became writable.
    *renounced* is the last epoch it held and dropped; it never serves under it again.
    *asking* means that a lease request is in flight, *taking* that it would give us
    a lease we do not hold yet, *stepping* that our member is
    being stepped up or down; *stepped_at* is when it last was. *resting_until* keeps
    a node that could not serve, or handed over, from standing at once again.
    *failures* counts how often the ports failed in a row, last at *failed_at*: the
    server that failed most often counts. *failed_servers* are the servers of which one
    failed while another was open; *reopening* means that those are being opened
    again. *pause* is why the ports were last closed on purpose, to be opened again.
    """

    me: str
    member_id: int
    timing: Timing
    member: Member | None = None
    named_at: int = 0
    writable_since: int = 0
    sighting: ObservedLease | None = None
    hold: HeldLease | None = None
    renounced: int = 0
    asking: bool = False
    taking: bool = False
    ports: Ports = Ports.CLOSED
    failures: int = 0
    failed_at: int = 0
    failed_servers: tuple[FailedServer, ...] = ()
    reopening: bool = False
    pause: str = ""
    peers: tuple[Peer, ...] = ()
    optime: tuple[int, int] = (0, 0)
    handover: Handover | None = None
    resting_until: int = 0
    resting_reason: str = ""
    stepping: bool = False
    stepped_at: int = 0

    def peer(self, address: str | None) -> Peer | None:
        """Return the peer at *address*, if it is one of ours."""
        return next((peer for peer in self.peers if peer.address == address), None)

    @property
    def closed_servers(self) -> tuple[FailedServer, ...]:
        """Return the servers that failed and are not open again."""
        return tuple(each for each in self.failed_servers if each.is_closed)

    def is_heard(self, peer: Peer, now: int) -> bool:
        """Return whether *peer* answered lately, and its host has not refused since."""
        until = peer.heard_at + self.timing.step_up_after
        return not peer.refused and bool(peer.heard_at) and now < until


Update = Callable[[Observation], Observation]
"""What was learned, as the step from one observation to the next."""


@dataclass(frozen=True, slots=True)
class ReadLease:
    """Read the lease from our own member."""


@dataclass(frozen=True, slots=True)
class TakeLease:
    """Take the lease over from what *expected* says."""

    expected: LeaseDocument


@dataclass(frozen=True, slots=True)
class RenewLease:
    """Renew the lease that we hold."""

    expected: LeaseDocument


@dataclass(frozen=True, slots=True)
class OpenPorts:
    """Open the service ports under *epoch*."""

    epoch: int


@dataclass(frozen=True, slots=True)
class ReopenServers:
    """Open the service servers that failed, while the others go on."""


@dataclass(frozen=True, slots=True)
class ClosePorts:
    """Close the service ports; *drain* lets requests in flight finish first."""

    drain: bool = False


@dataclass(frozen=True, slots=True)
class DropLease:
    """Forget the lease; never serve under its epoch again."""


@dataclass(frozen=True, slots=True)
class ReleaseLease:
    """Write that the lease is free, so that the next holder need not wait."""

    expected: LeaseDocument


@dataclass(frozen=True, slots=True)
class HandOver:
    """Release the lease, then have our member make way for *target*, in this order.

    A member that still writes while it steps down finds no standby that has caught
    up, and the set is left to elect in its own time.
    """

    expected: LeaseDocument
    target: str


@dataclass(frozen=True, slots=True)
class StepDown:
    """Have our member give up being primary."""


@dataclass(frozen=True, slots=True)
class StepUp:
    """Have our member stand for election."""


Action = (
    ReadLease
    | TakeLease
    | RenewLease
    | OpenPorts
    | ReopenServers
    | ClosePorts
    | DropLease
    | ReleaseLease
    | HandOver
    | StepDown
    | StepUp
)
