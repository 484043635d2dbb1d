"""A queue of requests that gives each client its turn.

Pure. Clients take turns, however many requests each has waiting, and none has more
than its share in work at a time.
"""

from collections import deque
from collections.abc import Container
from dataclasses import dataclass, field
from typing import Generic, TypeVar

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class QueueLimits:
    """How many items wait in all and per client, and are in work per client."""

    waiting: int
    waiting_per_client: int
    in_work_per_client: int


@dataclass(slots=True)
class _ClientRequests(Generic[T]):
    waiting: deque[T] = field(default_factory=deque)
    in_work: int = 0


class RequestQueue(Generic[T]):
    """Items of clients; *exempt* clients have only the bound of the whole queue."""

    def __init__(self, limits: QueueLimits, exempt: Container[str]) -> None:
        self._limits = limits
        self._exempt = exempt
        # In the order of their turns.
        self._clients: dict[str, _ClientRequests[T]] = {}
        self._waiting = 0

    def __len__(self) -> int:
        return self._waiting

    def offer(self, key: str, item: T) -> bool:
        """Let *item* of the client *key* wait; False if too many do."""
        client = self._clients.get(key)
        mine = len(client.waiting) if client else 0
        too_many = mine >= self._limits.waiting_per_client and key not in self._exempt
        if too_many or self._waiting >= self._limits.waiting:
            return False
        self.push(key, item)
        return True

    def push(self, key: str, item: T) -> None:
        """Let *item* wait whatever the limits are: it goes on with what was begun."""
        self._clients.setdefault(key, _ClientRequests()).waiting.append(item)
        self._waiting += 1

    def take(self) -> tuple[str, T] | None:
        """Return the client and the item whose turn it is; it is in work now."""
        for key, client in self._clients.items():
            if client.waiting and self._may_work(key, client):
                item = client.waiting.popleft()
                self._waiting -= 1
                client.in_work += 1
                # Its next turn comes after everybody else's.
                self._clients[key] = self._clients.pop(key)
                return key, item
        return None

    def finish(self, key: str) -> None:
        """Note that an item of the client *key* is not in work any more."""
        client = self._clients[key]
        client.in_work -= 1
        if not client.in_work and not client.waiting:
            del self._clients[key]

    def _may_work(self, key: str, client: _ClientRequests[T]) -> bool:
        return key in self._exempt or client.in_work < self._limits.in_work_per_client
