"""What backups use of the node that they run in."""

from collections.abc import Callable, Mapping
from typing import Protocol


class PortsOfNode(Protocol):
    """The service ports of the node."""

    @property
    def is_open(self) -> bool:
        """Return whether this node serves."""

    def reopen(self, reason: str) -> None:
        """Close the ports; they open again when the data is ready."""


class HealthOfNode(Protocol):
    """The health checks of the node; *failing* has the reasons, by check."""

    @property
    def failing(self) -> Mapping[str, str]:
        """Return why each failing check fails."""

    def add_check(
        self, name: str, interval_s: float, check: Callable[[], str | None]
    ) -> None:
        """Have *check* run every *interval_s* seconds."""
