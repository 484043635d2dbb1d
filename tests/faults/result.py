"""What one scenario came to, as a value."""

from dataclasses import dataclass, field


@dataclass(slots=True)
class Result:
    """What was measured, in seconds unless the name says else, and what is wrong."""

    name: str
    service: float | None = None
    outage: float | None = None
    converged: float | None = None
    dual_ms: float = 0.0
    acknowledged: int = 0
    unknown: int = 0
    lost: int = 0
    doubled: int = 0
    epochs: int = 0
    unsettled: int = 0
    broken: list[str] = field(default_factory=list)
