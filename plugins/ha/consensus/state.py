"""Define the values of the consensus: what a node observes, and its actions.

Pure. `Observation` is the input of every decision, `Action` its output. All times are
nanoseconds of this node's own boot-time clock, and 0 means "never".
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from plugins.ha.consensus.lease import HeldLease, LeaseDocument, ObservedLease
from plugins.ha.consensus.lease_duration import LeaseBounds, LeaseDuration


class Ports(StrEnum):
    """The state of this node's service ports; PAUSED ones were closed on purpose."""

    CLOSED = "closed"
    OPENING = "opening"
    OPEN = "open"
    CLOSING = "closing"
    FAILED = "failed"
    PAUSED = "paused"


@dataclass(frozen=True, slots=True)
class Member:
    """Our own mongod, as its last answer to `hello` describes it.

    Attributes:
        state: MongoDB's name of the member's state, such as "SECONDARY".
        writable: `isWritablePrimary`; an elected member becomes writable later.
        primary: Address of the node whose member is the primary it follows, if any.
        alive: Whether the process of mongod runs.
    """

    state: str
    writable: bool
    primary: str | None = None
    alive: bool = True


DEAD_MEMBER = Member(state="DOWN", writable=False, alive=False)


@dataclass(frozen=True, slots=True)
class Peer:
    """Another node, as its last heartbeat describes it.

    Attributes:
        heard_at: When the last request that was answered was **sent**; the content of
            the answer was true some time after that.
        refused: Whether its host answers, and no process listens on the node API.
        lost_at: When it was first found refusing, or without a running mongod.
        primary_claimed_at: When the last request was sent whose answer said that its
            member is writable.
        state: MongoDB's name of its member's state.
        primary: Address of the primary that its member follows, if any.
        optime: Its newest oplog entry (seconds, increment); a greater one is newer.
        serving_epoch: The epoch it serves under; 0 if it serves under none.
        acquire_pending: Whether a request in flight may still give it the lease.
        reachable_primaries: Addresses of the writable primaries that it hears.
        in_cooldown: Whether it does not stand for the role now.
        reason: Its own sentence on why it serves, or does not.
        database_problem: Why its database cannot be used; "" if it can.
        healthy_since: When it was first heard to be a healthy standby, without a gap
            since.
    """

    address: str
    member_id: int
    heard_at: int = 0
    refused: bool = False
    lost_at: int = 0
    primary_claimed_at: int = 0
    state: str = "UNKNOWN"
    writable: bool = False
    mongod_alive: bool = False
    primary: str | None = None
    optime: tuple[int, int] = (0, 0)
    serving_epoch: int = 0
    acquire_pending: bool = True
    reachable_primaries: tuple[str, ...] = ()
    in_cooldown: bool = False
    version: str = ""
    reason: str = ""
    database_problem: str = ""
    healthy_since: int = 0

    @property
    def is_healthy_standby(self) -> bool:
        """Return whether it was a standby that stores writes, when last heard."""
        stores = self.state == "SECONDARY" and self.mongod_alive
        return stores and not self.refused and not self.in_cooldown


@dataclass(frozen=True, slots=True)
class FailedServer:
    """A service server that failed *count* times in a row, last at *failed_at*.

    *is_closed* becomes False as soon as it is open again.
    """

    name: str
    count: int
    failed_at: int
    is_closed: bool = True


@dataclass(frozen=True, slots=True)
class SwitchoverRequest:
    """A requested switchover; *target* is None for the best standby."""

    target: str | None
    reason: str


@dataclass(frozen=True, slots=True)
class Timing:
    """The settings of the protocol, in nanoseconds.

    Attributes:
        lease: Bounds of the time that a lease lasts without renewal.
        step_up_after: How long a node is silent until it counts as unreachable, under
            a lease that lasts as long as it does at the start.
        heartbeat_interval: Time between two heartbeats to the same peer.
    """

    lease: LeaseBounds
    step_up_after: int
    heartbeat_interval: int


@dataclass(frozen=True, slots=True)
class Observation:
    """Everything that this node knows, as the input of a decision.

    Attributes:
        member: Our own mongod; None while it has not answered lately.
        primary_changed_at: When our member last began to name another primary.
        writable_since: When our member last became writable.
        observed_lease: The lease as this node last saw it change.
        held_lease: The lease, if this node holds it.
        last_renounced_epoch: The last epoch that this node held and gave up. It never
            serves under it again: the fencing rule of the holder.
        lease_request_pending: Whether a request about the lease is in flight.
        acquire_pending: Whether that request may give us a lease that we do not hold.
        port_failures: How often the ports failed in a row; of several servers, the
            one that failed most often counts.
        ports_failed_at: When the ports last failed.
        failed_servers: Servers that failed while another one was open.
        reopen_pending: Whether those servers are being opened again.
        pause_reason: Why the ports were last paused.
        optime: The newest oplog entry of our member (seconds, increment).
        switchover_request: The switchover under way, if one is.
        cooldown_until: Until when this node does not stand for the role, because it
            could not serve, or handed the role over.
        cooldown_reason: The sentence that says why.
        lease_duration: How long the next lease of this node lasts, and why; None
            until a lease was seen or a renewal was timed.
        election_step_pending: Whether our member is being stepped up or down.
        election_step_ended_at: When it last was.
    """

    self_address: str
    member_id: int
    timing: Timing
    member: Member | None = None
    primary_changed_at: int = 0
    writable_since: int = 0
    observed_lease: ObservedLease | None = None
    held_lease: HeldLease | None = None
    last_renounced_epoch: int = 0
    lease_request_pending: bool = False
    acquire_pending: bool = False
    ports: Ports = Ports.CLOSED
    port_failures: int = 0
    ports_failed_at: int = 0
    failed_servers: tuple[FailedServer, ...] = ()
    reopen_pending: bool = False
    pause_reason: str = ""
    peers: tuple[Peer, ...] = ()
    optime: tuple[int, int] = (0, 0)
    switchover_request: SwitchoverRequest | None = None
    cooldown_until: int = 0
    cooldown_reason: str = ""
    lease_duration: LeaseDuration | None = None
    election_step_pending: bool = False
    election_step_ended_at: int = 0

    def peer(self, address: str | None) -> Peer | None:
        """Return the peer at *address*; None if no peer has it."""
        return next((peer for peer in self.peers if peer.address == address), None)

    @property
    def next_ttl(self) -> int:
        """Return the ttl that the next write of the lease by this node stores."""
        chosen = self.lease_duration
        return chosen.ttl if chosen else self.timing.lease.start

    @property
    def current_ttl(self) -> int:
        """Return the ttl of the lease as it was last observed."""
        if self.observed_lease is None or not self.observed_lease.document.ttl:
            return self.timing.lease.start
        return self.observed_lease.document.ttl

    @property
    def unreachable_after(self) -> int:
        """Return how long a node is silent until it counts as unreachable.

        It grows with the lease: where renewals are slow, heartbeats are slow, too.
        """
        share = self.timing.step_up_after * self.current_ttl // self.timing.lease.start
        return max(share, 2 * self.timing.heartbeat_interval)

    @property
    def closed_servers(self) -> tuple[FailedServer, ...]:
        """Return the servers that failed and are not open again."""
        return tuple(each for each in self.failed_servers if each.is_closed)

    def is_reachable(self, peer: Peer, now: int) -> bool:
        """Return whether *peer* answered lately, and its host has not refused since."""
        until = peer.heard_at + self.unreachable_after
        return not peer.refused and bool(peer.heard_at) and now < until


Update = Callable[[Observation], Observation]
"""An event, as the function from the observation before it to the one after it."""


@dataclass(frozen=True, slots=True)
class ReadLease:
    """Read the lease from our own member."""


@dataclass(frozen=True, slots=True)
class AcquireLease:
    """Acquire the lease for *ttl*, if it is still *expected*."""

    expected: LeaseDocument
    ttl: int


@dataclass(frozen=True, slots=True)
class RenewLease:
    """Renew the lease that this node holds for *ttl*, if it is still *expected*."""

    expected: LeaseDocument
    ttl: int


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
class RenounceLease:
    """Give up the lease without a write, and never serve under its epoch again."""


@dataclass(frozen=True, slots=True)
class ReleaseLease:
    """Mark the stored lease as released, so that the next holder need not wait."""

    expected: LeaseDocument


@dataclass(frozen=True, slots=True)
class TransferRole:
    """Release the lease, then step our member down in favour of *target*.

    The order matters: while our member still writes, no standby has caught up with it
    when it steps down, and the replica set waits for its own election timeout.
    """

    expected: LeaseDocument
    target: str


@dataclass(frozen=True, slots=True)
class StepDown:
    """Step our member down from primary."""


@dataclass(frozen=True, slots=True)
class StepUp:
    """Make our member stand for election."""


Action = (
    ReadLease
    | AcquireLease
    | RenewLease
    | OpenPorts
    | ReopenServers
    | ClosePorts
    | RenounceLease
    | ReleaseLease
    | TransferRole
    | StepDown
    | StepUp
)
