"""The connections of a server, counted and bounded per client.

Pure. A client that has too many loses its own oldest idle connection, so that it
takes nothing from others; the oldest idle one of the client with the most goes where
the whole table is full.
"""

from collections.abc import Container
from dataclasses import dataclass, field
from typing import Generic, TypeVar

C = TypeVar("C")


@dataclass(slots=True)
class _ClientConnections(Generic[C]):
    """One client's connections; the *idle* ones oldest first."""

    count: int = 0
    idle: dict[C, None] = field(default_factory=dict)


class ConnectionTable(Generic[C]):
    """Counts connections by client; *exempt* clients have no bound of their own."""

    def __init__(
        self, max_total: int, max_per_client: int, exempt: Container[str]
    ) -> None:
        self._max_total = max_total
        self._max_per_client = max_per_client
        self._exempt = exempt
        self._clients: dict[str, _ClientConnections[C]] = {}
        self._total = 0

    def __len__(self) -> int:
        return self._total

    def is_full_for(self, key: str) -> bool:
        """Say whether one more connection of the client *key* needs another's place."""
        return self._total >= self._max_total or self._is_greedy(key)

    def choose_victim(self, key: str) -> C | None:
        """Return the idle connection to close for a new one of *key*.

        None where there is none: then the new one is refused.
        """
        greedy = key if self._is_greedy(key) else self._greediest()
        client = self._clients.get(greedy)
        return next(iter(client.idle), None) if client else None

    def add(self, key: str, connection: C) -> None:
        """Count *connection* of the client *key*; it is idle."""
        client = self._clients.setdefault(key, _ClientConnections())
        client.count += 1
        client.idle[connection] = None
        self._total += 1

    def set_busy(self, key: str, connection: C) -> None:
        """Note that a request of *connection* is in work: it is not to be closed."""
        self._clients[key].idle.pop(connection, None)

    def set_idle(self, key: str, connection: C) -> None:
        """Note that *connection* waits for its client since now."""
        idle = self._clients[key].idle
        idle.pop(connection, None)
        idle[connection] = None

    def remove(self, key: str, connection: C) -> None:
        """Forget *connection*."""
        client = self._clients[key]
        client.idle.pop(connection, None)
        client.count -= 1
        self._total -= 1
        if not client.count:
            del self._clients[key]

    def _is_greedy(self, key: str) -> bool:
        client = self._clients.get(key)
        full = client is not None and client.count >= self._max_per_client
        return full and key not in self._exempt

    def _greediest(self) -> str:
        """Return the client with the most connections, of which one is idle."""
        idle = (key for key, client in self._clients.items() if client.idle)
        return max(idle, key=lambda key: self._clients[key].count, default="")
