"""Define the demo's events and status, for the screen and the JSON lines."""

from collections.abc import Mapping
from dataclasses import dataclass, field

NODES = ("127.0.0.11", "127.0.0.12", "127.0.0.13")
LOAD_BALANCER = "127.0.0.10"
HTTPS_PORT = 8083
WEBSOCKET_PORT = 8084


@dataclass(frozen=True, slots=True)
class ProgressReport:
    """The start of a step on the way to readiness."""

    step: str


@dataclass(frozen=True, slots=True)
class Ready:
    """The demo is ready: all nodes vote and one serves; *seconds* after the start."""

    seconds: float
    demo: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class RoleObserved:
    """A change of the role that a node reports of itself."""

    address: str
    role: str
    reason: str


@dataclass(frozen=True, slots=True)
class NodeEnded:
    """The end of a node process without a command of the demo."""

    address: str
    code: int


@dataclass(frozen=True, slots=True)
class Failover:
    """A finished failover: writes are stored again *seconds* after the fault.

    *lost* counts writes that had been acknowledged before and are gone. *phases*
    maps the name of a phase to its seconds, in order.
    """

    before: str
    after: str
    seconds: float
    lost: int
    reason: str = ""
    phases: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class CommandResult:
    """The result of a command."""

    command: str
    ok: bool
    message: str
    status: "DemoStatus | None" = None


Event = ProgressReport | Ready | RoleObserved | NodeEnded | Failover | CommandResult


@dataclass(frozen=True, slots=True)
class NodeStatus:
    """The status of a node; *process* is running, frozen, killed or ended."""

    address: str
    pid: int | None
    process: str
    cut: bool
    role: str
    reason: str


@dataclass(frozen=True, slots=True)
class Writes:
    """The counters of the writer; *by* is the node that stored the last write."""

    stored: int = 0
    per_second: float = 0.0
    lost: int = 0
    by: str | None = None


@dataclass(frozen=True, slots=True)
class DemoStatus:
    """Everything that the screen shows; *entrance* are the addresses for users."""

    entrance: tuple[str, ...]
    nodes: tuple[NodeStatus, ...]
    writes: Writes
    failover: Failover | None
