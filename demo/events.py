"""What the demo knows and tells, as values: the screen, the JSON lines and `status`."""

from collections.abc import Mapping
from dataclasses import dataclass, field

NODES = ("127.0.0.11", "127.0.0.12", "127.0.0.13")
LOAD_BALANCER = "127.0.0.10"
HTTPS_PORT = 8083
WEBSOCKET_PORT = 8084


@dataclass(frozen=True, slots=True)
class Progress:
    """A step on the way to readiness began."""

    step: str


@dataclass(frozen=True, slots=True)
class Ready:
    """All three nodes vote and one serves; *seconds* after the start."""

    seconds: float
    demo: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class RoleSeen:
    """A node's role, as it tells it itself, is another than before."""

    address: str
    role: str
    reason: str


@dataclass(frozen=True, slots=True)
class NodeEnded:
    """A node process ended without a command of ours."""

    address: str
    code: int


@dataclass(frozen=True, slots=True)
class Failover:
    """Writes are stored again, *seconds* after the fault or the command.

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
class Answer:
    """What became of a command."""

    command: str
    ok: bool
    message: str
    status: "DemoStatus | None" = None


Event = Progress | Ready | RoleSeen | NodeEnded | Failover | Answer


@dataclass(frozen=True, slots=True)
class NodeStatus:
    """One node now; *process* is running, frozen, killed or ended."""

    address: str
    pid: int | None
    process: str
    cut: bool
    role: str
    reason: str


@dataclass(frozen=True, slots=True)
class Writes:
    """The stored writes so far, and those of the last second."""

    stored: int = 0
    per_second: float = 0.0
    lost: int = 0
    by: str | None = None


@dataclass(frozen=True, slots=True)
class DemoStatus:
    """Everything the screen shows; *entrance* is where users come in."""

    entrance: tuple[str, ...]
    nodes: tuple[NodeStatus, ...]
    writes: Writes
    failover: Failover | None
