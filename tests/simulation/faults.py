"""Faults, as values: what befalls which node, when, and for how long."""

from collections.abc import Callable
from dataclasses import dataclass

from tests.simulation.node import Node
from tests.simulation.world import SECOND, Network

Apply = Callable[["Stage", "Fault"], Callable[[], object] | None]
"""Begins a fault; gives what ends it, if it must be ended."""


@dataclass(slots=True)
class Stage:
    """What faults work on."""

    network: Network
    nodes: list[Node]


@dataclass(frozen=True, slots=True)
class Fault:
    """*kind* befalls node *node* (and *other*) at *at* for *length*, in nanoseconds.

    Nodes are counted from the one that serves when it begins: that is number 0.
    """

    at: int
    kind: str
    node: int
    other: int
    length: int

    def __str__(self) -> str:
        """As it is printed in a trace."""
        return (
            f"{self.kind} (+{self.node}, +{self.other}) at {self.at / SECOND:.3f} s "
            f"for {self.length / SECOND:.3f} s"
        )
