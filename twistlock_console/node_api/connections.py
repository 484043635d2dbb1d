"""The connections of the node API that have a thread: their deadlines and their number.

A deadline is for a whole step, the handshake or a request, whatever arrives meanwhile.
"""

import ssl
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from socket import SHUT_RDWR, socket

MAX_CONNECTIONS = 256
MAX_PER_CERTIFICATE = 64
"""A node's process, its pages and its commands have several connections each."""


@dataclass(frozen=True, slots=True)
class Caller:
    """The node that asks: the name in its certificate, and its key's fingerprint."""

    address: str
    fingerprint: str


@dataclass(slots=True, eq=False)
class NodeConnection:
    """A connection; *deadline* is when it is cut, *idle_since* if nothing is asked."""

    secured: ssl.SSLSocket
    clock: Callable[[], float]
    caller: Caller = Caller("", "")
    deadline: float | None = None
    idle_since: float | None = None

    def set_deadline(self, seconds: float | None, *, idle: bool = False) -> None:
        """Cut the connection in so many seconds, unless called again; None: never."""
        now = self.clock()
        self.idle_since = now if idle else None
        self.deadline = None if seconds is None else now + seconds

    def cut(self) -> None:
        """End the connection; its thread notices."""
        with suppress(OSError):
            # Not the TLS socket's own, which would change it under its thread.
            socket.shutdown(self.secured, SHUT_RDWR)


class NodeConnections:
    """All connections of a server; any thread may use it."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._all: dict[ssl.SSLSocket, NodeConnection] = {}
        self._closed = False

    def add(self, secured: ssl.SSLSocket) -> NodeConnection:
        """Note a connection; raises OSError if the server is closed."""
        made = NodeConnection(secured, self._clock)
        with self._lock:
            if self._closed:
                raise OSError("the server is closed")
            self._all[secured] = made
        return made

    def find(self, secured: ssl.SSLSocket) -> NodeConnection:
        """Return what is known of a connection."""
        with self._lock:
            return self._all[secured]

    def remove(self, secured: ssl.SSLSocket | None) -> None:
        """Forget a connection, which ended."""
        with self._lock:
            if secured:
                self._all.pop(secured, None)

    def admit(self, connection: NodeConnection, caller: Caller) -> bool:
        """Return whether *caller* may have one more connection.

        For it, the one that was idle for longest is cut where there are too many.
        """
        with self._lock:
            known = [each for each in self._all.values() if each.caller.fingerprint]
            same = [each for each in known if each.caller == caller]
            crowd = same if len(same) >= MAX_PER_CERTIFICATE else []
            crowd = crowd or (known if len(known) >= MAX_CONNECTIONS else [])
            victim = _longest_idle(crowd)
            if crowd and victim is None:
                return False
            connection.caller = caller
            if victim:
                del self._all[victim.secured]
        if victim:
            victim.cut()
        return True

    def cut_overdue(self) -> None:
        """Cut the connections whose deadline has passed."""
        now = self._clock()
        with self._lock:
            overdue = [
                each
                for each in self._all.values()
                if each.deadline is not None and each.deadline < now
            ]
        for each in overdue:
            each.cut()

    def close(self) -> None:
        """Cut all, and let none in any more."""
        with self._lock:
            self._closed = True
            standing = list(self._all.values())
        for each in standing:
            each.cut()


def _longest_idle(connections: list[NodeConnection]) -> NodeConnection | None:
    idle = [(each.idle_since, each) for each in connections if each.idle_since]
    return min(idle, key=lambda pair: pair[0])[1] if idle else None
