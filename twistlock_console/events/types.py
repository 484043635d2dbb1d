"""Define the events of a node; each is published from one place."""

from dataclasses import dataclass
from enum import StrEnum

from twistlock_console.events.cluster_status import ClusterStatus


class Role(StrEnum):
    """The role of this node; PRIMARY and SECONDARY are states of MongoDB members."""

    PRIMARY = "primary"
    STANDBY = "standby"


@dataclass(frozen=True, slots=True)
class RoleChanged:
    """This node took or gave up the primary role.

    *phases* maps the name of a phase to its seconds, in order.
    """

    old: Role
    new: Role
    reason: str
    epoch: int
    phases: dict[str, float]


@dataclass(frozen=True, slots=True)
class ListenerOpened:
    """A service port answers; *seconds* is how long opening took."""

    name: str
    seconds: float


@dataclass(frozen=True, slots=True)
class ListenerClosed:
    """A service port refuses connections; *seconds* is how long closing took."""

    name: str
    seconds: float


@dataclass(frozen=True, slots=True)
class ListenerFailed:
    """A service server ended by itself, or its port could not be opened."""

    name: str
    reason: str


@dataclass(frozen=True, slots=True)
class ListenersPaused:
    """All service ports were closed on purpose, and are to be opened again."""

    reason: str


@dataclass(frozen=True, slots=True)
class DatabaseStarted:
    """Our mongod runs with this process id; it may not answer yet."""

    pid: int


@dataclass(frozen=True, slots=True)
class DatabaseStopped:
    """Our mongod ended; *reason* says how, as a sentence."""

    reason: str


@dataclass(frozen=True, slots=True)
class BackupFinished:
    """A backup was made, verified, restored or uploaded; *verb* says which.

    *what* are the backups it is about, *error* is empty if it went well, *size* is
    in bytes.
    """

    verb: str
    what: str
    error: str
    seconds: float
    size: int


@dataclass(frozen=True, slots=True)
class HealthChanged:
    """A health check of this node began to fail, or recovered."""

    check: str
    healthy: bool
    reason: str


@dataclass(frozen=True, slots=True)
class ClusterPolled:
    """The scheduled `rs.status()` poll answered, or did not (*status* is None)."""

    status: ClusterStatus | None
