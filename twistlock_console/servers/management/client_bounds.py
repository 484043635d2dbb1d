"""Throttle one client: its connections, requests, memory and transfer rate. Pure.

A client that has too many connections loses its own oldest idle one, so that it takes
nothing from others; when the whole table is full, the client with the most connections
loses its oldest idle one. Clients take turns with their requests, however many each has
waiting.
"""

from collections import deque
from collections.abc import Collection, Container
from dataclasses import dataclass, field
from functools import lru_cache
from ipaddress import (
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
    ip_network,
)
from typing import Generic, TypeVar

Network = IPv4Network | IPv6Network
IPV6_HOST_PREFIX = 64
C = TypeVar("C")
T = TypeVar("T")


@lru_cache(maxsize=8192)
def client_key(address: str) -> str:
    """Return the key by which the client at *address* is counted.

    An IPv6 host has a whole /64 network to choose addresses from, so that network
    counts as one client. An IPv4 address that is written as IPv6 is that address.
    """
    try:
        found = ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if not isinstance(found, IPv6Address):
        return str(found)
    if found.ipv4_mapped:
        return str(found.ipv4_mapped)
    return str(IPv6Network((found, IPV6_HOST_PREFIX), strict=False))


class TrustedProxies:
    """The networks of proxies, whose connections come from many clients.

    No limit per address holds for them.
    """

    def __init__(self, networks: Collection[Network]) -> None:
        self._networks = tuple(networks)

    def __contains__(self, key: object) -> bool:
        """Return whether the client with this *key* is a trusted proxy."""
        if not self._networks or not isinstance(key, str):
            return False
        try:
            found = ip_network(key)
        except ValueError:
            return False
        # An IPv6 proxy counts by its network, as every IPv6 client does.
        return any(found.overlaps(network) for network in self._networks)


@dataclass(slots=True)
class _ClientConnections(Generic[C]):
    """One client's connections; the *idle* ones oldest first."""

    count: int = 0
    idle: dict[C, None] = field(default_factory=dict)


class ConnectionTable(Generic[C]):
    """Counts connections by client; *exempt* clients have no limit of their own."""

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
        """Return whether another connection must close before *key* may open one."""
        return self._total >= self._max_total or self._is_greedy(key)

    def choose_victim(self, key: str) -> C | None:
        """Return the idle connection to close for a new one of *key*.

        None where there is none: then the new one is refused.
        """
        greedy = key if self._is_greedy(key) else self._greediest()
        client = self._clients.get(greedy)
        return next(iter(client.idle), None) if client else None

    def add(self, key: str, connection: C) -> None:
        """Count the idle *connection* of the client *key*."""
        client = self._clients.setdefault(key, _ClientConnections())
        client.count += 1
        client.idle[connection] = None
        self._total += 1

    def set_busy(self, key: str, connection: C) -> None:
        """Mark *connection* as busy with a request: it is not closed for others."""
        self._clients[key].idle.pop(connection, None)

    def set_idle(self, key: str, connection: C) -> None:
        """Mark *connection* as idle since now."""
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


@dataclass(frozen=True, slots=True)
class QueueLimits:
    """Limits of a queue: items that wait, all and per client; in work per client."""

    waiting: int
    waiting_per_client: int
    in_work_per_client: int


@dataclass(slots=True)
class _ClientRequests(Generic[T]):
    waiting: deque[T] = field(default_factory=deque)
    in_work: int = 0


class RequestQueue(Generic[T]):
    """A fair queue by client; only the total limit holds for *exempt* clients."""

    def __init__(self, limits: QueueLimits, exempt: Container[str]) -> None:
        self._limits = limits
        self._exempt = exempt
        # In the order of their turns.
        self._clients: dict[str, _ClientRequests[T]] = {}
        self._waiting = 0

    def __len__(self) -> int:
        return self._waiting

    def offer(self, key: str, item: T) -> bool:
        """Queue *item* of the client *key*; return False if too many wait."""
        client = self._clients.get(key)
        mine = len(client.waiting) if client else 0
        too_many = mine >= self._limits.waiting_per_client and key not in self._exempt
        if too_many or self._waiting >= self._limits.waiting:
            return False
        self.push(key, item)
        return True

    def push(self, key: str, item: T) -> None:
        """Queue *item* regardless of limits: its request was started before."""
        self._clients.setdefault(key, _ClientRequests()).waiting.append(item)
        self._waiting += 1

    def take(self) -> tuple[str, T] | None:
        """Return the next item and its client; count it as in work."""
        for key, client in self._clients.items():
            if client.waiting and self._may_work(key, client):
                item = client.waiting.popleft()
                self._waiting -= 1
                client.in_work += 1
                # Its next turn comes after those of all other clients.
                self._clients[key] = self._clients.pop(key)
                return key, item
        return None

    def finish(self, key: str) -> None:
        """Count one item less in work for the client *key*."""
        client = self._clients[key]
        client.in_work -= 1
        if not client.in_work and not client.waiting:
            del self._clients[key]

    def _may_work(self, key: str, client: _ClientRequests[T]) -> bool:
        return key in self._exempt or client.in_work < self._limits.in_work_per_client


class MemoryBudget:
    """Bytes that clients hold: at most *max_total* in all, *max_per_client* each.

    Only the first bound holds for *exempt* clients.
    """

    def __init__(
        self, max_total: int, max_per_client: int, exempt: Container[str]
    ) -> None:
        self._max_total = max_total
        self._max_per_client = max_per_client
        self._exempt = exempt
        self._clients: dict[str, int] = {}
        self.total = 0

    def change(self, key: str, by: int) -> bool:
        """Count *by* bytes more, or less, of the client *key*.

        Returns:
            False if the client, or all together, now hold too much.

        """
        size = self._clients.get(key, 0) + by
        self.total += by
        if size:
            self._clients[key] = size
        else:
            self._clients.pop(key, None)
        if by <= 0:
            return True
        greedy = size > self._max_per_client and key not in self._exempt
        return not greedy and self.total <= self._max_total


class MinimumRate:
    """A minimum rate: a transfer may be *allowance_s* seconds behind *bytes_per_s*.

    Times are seconds of any one clock.
    """

    def __init__(self, bytes_per_s: float, allowance_s: float, now: float) -> None:
        self._bytes_per_s = bytes_per_s
        self._allowance_s = allowance_s
        self.deadline = now + allowance_s

    def advance(self, size: int, now: float) -> None:
        """Extend the deadline: *size* bytes more were transferred."""
        earned = self.deadline + size / self._bytes_per_s
        # A quick transfer earns no more than the allowance at the start.
        self.deadline = min(earned, now + self._allowance_s)

    def restart(self, now: float) -> None:
        """Reset the deadline: there was nothing to transfer until now."""
        self.deadline = now + self._allowance_s
