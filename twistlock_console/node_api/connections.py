"""Limit the connections of the node API that have a thread, by time and by number.

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
"""The process of a node, its pages and its commands have several connections each."""


@dataclass(frozen=True, slots=True)
class Caller:
    """The node that sent a request: its certificate's name and key fingerprint."""

    address: str
    fingerprint: str


@dataclass(slots=True, eq=False)
class NodeConnection:
    """A connection with a thread.

    *deadline* is when it is cut, *idle_since* when it became idle, None while a request
    is in work; both in seconds of *clock*.
    """

    secured: ssl.SSLSocket
    clock: Callable[[], float]
    caller: Caller = Caller("", "")
    deadline: float | None = None
    idle_since: float | None = None

    def set_deadline(self, seconds: float | None, *, idle: bool = False) -> None:
        """Cut the connection in *seconds*, unless called again; None means never."""
        now = self.clock()
        self.idle_since = now if idle else None
        self.deadline = None if seconds is None else now + seconds

    def cut(self) -> None:
        """Shut the connection down; its thread then ends."""
        with suppress(OSError):
            # Not the method of the TLS socket, which its thread is using.
            socket.shutdown(self.secured, SHUT_RDWR)


class NodeConnections:
    """The connections of a server; any thread may use it."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._all: dict[ssl.SSLSocket, NodeConnection] = {}
        self._closed = False

    def add(self, secured: ssl.SSLSocket) -> NodeConnection:
        """Add a connection; raises OSError if the server is closed."""
        made = NodeConnection(secured, self._clock)
        with self._lock:
            if self._closed:
                raise OSError("the server is closed")
            self._all[secured] = made
        return made

    def find(self, secured: ssl.SSLSocket) -> NodeConnection:
        """Return the entry of a connection."""
        with self._lock:
            return self._all[secured]

    def remove(self, secured: ssl.SSLSocket | None) -> None:
        """Remove a connection that ended."""
        with self._lock:
            if secured:
                self._all.pop(secured, None)

    def admit(self, connection: NodeConnection, caller: Caller) -> bool:
        """Count *connection* as one of *caller*; return False if it has too many.

        At the limit the connection that was idle for longest is cut for the new one.
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
        """Cut all connections whose deadline has passed."""
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
        """Cut all connections, and refuse new ones."""
        with self._lock:
            self._closed = True
            open_connections = list(self._all.values())
        for each in open_connections:
            each.cut()


def _longest_idle(connections: list[NodeConnection]) -> NodeConnection | None:
    idle = [(each.idle_since, each) for each in connections if each.idle_since]
    return min(idle, key=lambda pair: pair[0])[1] if idle else None
