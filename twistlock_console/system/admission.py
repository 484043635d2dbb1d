"""Decide which accepted connections of a port may open, fairly by address.

A connection passes through three states. It *waits* until its first bytes have arrived
and one of the slots is free; it then costs a file descriptor, but no task, no thread
and no TLS state. It *opens* while it holds a slot, until its peer has proved who it is;
the Defender port waits for the hello, too. Then it is *established* and not counted.

Slots are given to the addresses in turn, so that a flood from one address does not
delay the connections of another. When too many wait, the address with the most waiting
connections loses one.
"""

from collections import Counter, OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass
from ipaddress import IPv6Address, ip_address
from typing import Generic, TypeVar

T = TypeVar("T", bound=Hashable)

FIRST_BYTE_TIMEOUT_S = 15.0
"""A connection that has sent nothing for so long is closed."""
SLOT_TIMEOUT_S = 60.0
"""A connection that waited so long for a slot is closed: its peer has timed out."""
PREEMPT_AFTER_S = 2.0
"""An opening connection this old gives way when nothing else makes progress."""
STALLED_AFTER_S = 1.0
RESERVED_DESCRIPTORS = 256
"""File descriptors kept for the database, the log and everything else."""


@dataclass(frozen=True, slots=True)
class AdmissionLimits:
    """Limits of connections in each state; *per_address* limits opening ones."""

    total: int
    waiting: int
    opening: int
    per_address: int

    @classmethod
    def for_open_files(cls, open_files: int) -> "AdmissionLimits":
        """Return limits that fit in a limit of *open_files* file descriptors."""
        total = max(16, open_files - min(RESERVED_DESCRIPTORS, open_files // 4))
        opening = min(512, max(4, total // 8))
        return cls(
            total=total,
            waiting=min(16_384, max(4, total // 4)),
            opening=opening,
            per_address=max(2, opening // 2),
        )


def group_of(address: str) -> str:
    """Return the key by which *address* is counted: IPv6 hosts own a whole /64."""
    try:
        parsed = ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(parsed, IPv6Address):
        if parsed.ipv4_mapped:
            return str(parsed.ipv4_mapped)
        return str(IPv6Address(int(parsed) >> 64 << 64))
    return address


class Admission(Generic[T]):
    """Keeps the queue of waiting connections and the slots of opening ones.

    *waiting* and *opening* say how many there are of each. All times are in seconds of
    one monotonic clock. Used by one thread.
    """

    def __init__(self, limits: AdmissionLimits) -> None:
        self._limits = limits
        self._silent: OrderedDict[T, tuple[str, float]] = OrderedDict()
        self._ready: OrderedDict[str, OrderedDict[T, float]] = OrderedDict()
        self._waiting: Counter[str] = Counter()
        self.waiting = 0
        self._opening: OrderedDict[T, tuple[str, float]] = OrderedDict()
        self._slots: Counter[str] = Counter()
        self._progress_at = 0.0

    @property
    def opening(self) -> int:
        """Return how many connections hold a slot."""
        return len(self._opening)

    def add(self, connection: T, address: str, now: float) -> T | None:
        """Queue *connection*; return the connection to close for it, if any."""
        group = group_of(address)
        self._silent[connection] = (group, now)
        self._waiting[group] += 1
        self.waiting += 1
        if self.waiting <= self._limits.waiting:
            return None
        victim = self._newest_of(self._waiting.most_common(1)[0][0])
        self.discard(victim)
        return victim

    def mark_ready(self, connection: T, now: float) -> None:
        """Mark *connection* as ready: its first bytes arrived, if it waits here."""
        if connection not in self._silent:
            return
        group, _ = self._silent.pop(connection)
        self._ready.setdefault(group, OrderedDict())[connection] = now

    def take_next(self, now: float) -> T | None:
        """Give a free slot to the next connection; None if there is none to give."""
        if self.opening >= self._limits.opening:
            return None
        for group, connections in self._ready.items():
            if self._slots[group] < self._limits.per_address:
                connection = next(iter(connections))
                self._forget_ready(group, connection)
                if group in self._ready:
                    self._ready.move_to_end(group)
                self._opening[connection] = (group, now)
                self._slots[group] += 1
                return connection
        return None

    def pick_stalled(self, now: float) -> T | None:
        """Return an opening connection to close in favour of one that is ready.

        None while something makes progress: a busy server is not an attack.
        """
        if not self._ready or now - self._progress_at < STALLED_AFTER_S:
            return None
        full = self.opening >= self._limits.opening
        group = self._greediest() if full else next(iter(self._ready))
        if not full and self._slots[group] < self._limits.per_address:
            return None
        for connection, (its_group, since) in self._opening.items():
            if its_group == group and now - since >= PREEMPT_AFTER_S:
                return connection
        return None

    def pick_expired(self, now: float) -> list[T]:
        """Return the waiting connections whose time is over; they are forgotten."""
        expired = [
            connection
            for connection, (_, since) in self._silent.items()
            if now - since >= FIRST_BYTE_TIMEOUT_S
        ]
        expired += [
            connection
            for connections in self._ready.values()
            for connection, since in connections.items()
            if now - since >= SLOT_TIMEOUT_S
        ]
        for connection in expired:
            self.discard(connection)
        return expired

    def establish(self, connection: T, now: float) -> None:
        """Free the slot of *connection*, whose peer is known now."""
        self._progress_at = now
        self.discard(connection)

    def discard(self, connection: T) -> None:
        """Forget *connection*, whatever its state."""
        if found := self._opening.pop(connection, None):
            self._slots[found[0]] -= 1
            if not self._slots[found[0]]:
                del self._slots[found[0]]
        elif found := self._silent.pop(connection, None):
            self._leave_queue(found[0])
        else:
            for group, connections in self._ready.items():
                if connection in connections:
                    self._forget_ready(group, connection)
                    return

    def _forget_ready(self, group: str, connection: T) -> None:
        del self._ready[group][connection]
        if not self._ready[group]:
            del self._ready[group]
        self._leave_queue(group)

    def _leave_queue(self, group: str) -> None:
        self.waiting -= 1
        self._waiting[group] -= 1
        if not self._waiting[group]:
            del self._waiting[group]

    def _greediest(self) -> str:
        return self._slots.most_common(1)[0][0]

    def _newest_of(self, group: str) -> T:
        """Return a waiting connection of *group*: silent ones first, newest first."""
        for connection, (its_group, _) in reversed(self._silent.items()):
            if its_group == group:
                return connection
        return next(reversed(self._ready[group]))
