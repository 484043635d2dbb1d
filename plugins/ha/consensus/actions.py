"""What a decision may ask the shell to do, as values."""

from dataclasses import dataclass

from plugins.ha.consensus.lease import LeaseDocument


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
