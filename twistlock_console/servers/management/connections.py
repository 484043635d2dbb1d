"""The connections of the management server: accepted, bounded, and closed."""

import errno
import logging
import socket
import time
from collections.abc import Callable, Container
from selectors import EVENT_READ

from twistlock_console.servers.management import limits
from twistlock_console.servers.management.client_bounds import (
    ConnectionTable,
    MemoryBudget,
)
from twistlock_console.servers.management.connection import Connection, Phase
from twistlock_console.servers.management.event_loop import EventLoop
from twistlock_console.servers.management.request import SocketAddress

ACCEPTED_AT_ONCE = 128
LOG_EVERY_S = 10.0
NO_CONNECTION = (errno.EAGAIN, errno.EWOULDBLOCK, errno.ECONNABORTED, errno.EINTR)
NO_DESCRIPTOR = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
log = logging.getLogger(__name__)


class Connections:
    """All connections; *exempt* clients have no bound of their own.

    Args:
        loop: Watches the connections.
        exempt: The keys of clients that are trusted proxies.
        max_total: How many connections there may be.
        on_output: Called, on any thread, when a connection has something to send.
        on_close: Called when one was closed.

    """

    def __init__(
        self,
        loop: EventLoop,
        exempt: Container[str],
        max_total: int,
        on_output: Callable[[Connection], object],
        on_close: Callable[[Connection], object],
    ) -> None:
        self._loop = loop
        self._on_output = on_output
        self._on_close = on_close
        self._all: set[Connection] = set()
        self._table: ConnectionTable[Connection] = ConnectionTable(
            max_total, limits.MAX_CONNECTIONS_PER_ADDRESS, exempt
        )
        self._memory = MemoryBudget(
            limits.MAX_BUFFERED_BYTES, limits.MAX_BUFFERED_BYTES_PER_ADDRESS, exempt
        )
        self._held: dict[Connection, int] = {}
        self._log_at = 0.0
        self._logged = 0
        self.max_total = max_total
        self.refused = 0

    def __len__(self) -> int:
        return len(self._all)

    def accept(self, listener: socket.socket) -> None:
        """Take the connections that wait at *listener*, a bounded number at a time."""
        for _ in range(ACCEPTED_AT_ONCE):
            try:
                sock, peer = listener.accept()
            except OSError as error:
                if error.errno in NO_DESCRIPTOR:
                    self._make_room("", "the server has no file descriptors left")
                elif error.errno not in NO_CONNECTION:
                    raise
                return
            try:
                self._take(sock, peer, listener.getsockname())
            except OSError:
                # It ended before anything could be done with it.
                sock.close()

    def drop(self, conn: Connection) -> None:
        """Close *conn* at once; does nothing if it is closed."""
        if conn.phase is Phase.CLOSED:
            return
        self._loop.watch(conn, 0)
        self._all.discard(conn)
        self._table.remove(conn.key, conn)
        conn.close()
        self.count_memory(conn)
        self._on_close(conn)

    def drop_waiting(self) -> None:
        """Close every connection that has no request in work."""
        for conn in list(self._all):
            if conn.phase is not Phase.WORKING:
                self.drop(conn)

    def drop_all(self) -> None:
        """Close every connection; answers that are being made are abandoned."""
        for conn in list(self._all):
            self.drop(conn)

    def set_busy(self, conn: Connection) -> None:
        """Note that a request of *conn* is in work."""
        self._table.set_busy(conn.key, conn)

    def set_idle(self, conn: Connection) -> None:
        """Note that *conn* waits for its client from now on."""
        self._table.set_idle(conn.key, conn)

    def count_memory(self, conn: Connection) -> bool:
        """Count what the request of *conn* takes; False if that is too much."""
        size = conn.held_bytes
        by = size - self._held.pop(conn, 0)
        if size:
            self._held[conn] = size
        return self._memory.change(conn.key, by)

    def _take(
        self, sock: socket.socket, peer: SocketAddress, server: SocketAddress
    ) -> None:
        conn = Connection(sock, peer, server, self._on_output)
        if self._table.is_full_for(conn.key) and not self._make_room(
            conn.key, f"{conn.key} has too many connections"
        ):
            conn.close()
            return
        self._all.add(conn)
        self._table.add(conn.key, conn)
        self._loop.watch(conn, EVENT_READ)
        deadline = time.monotonic() + limits.HANDSHAKE_TIMEOUT_S
        self._loop.set_deadline(conn, deadline)

    def _make_room(self, key: str, reason: str) -> bool:
        """Close an idle connection for a new one of *key*; False if there is none."""
        victim = self._table.choose_victim(key)
        self.refused += 1
        self._log(reason)
        if victim is None:
            return False
        self.drop(victim)
        return True

    def _log(self, reason: str) -> None:
        now = time.monotonic()
        if now < self._log_at:
            return
        log.warning(
            "closed or refused %d connections; the last because %s",
            self.refused - self._logged,
            reason,
        )
        self._log_at, self._logged = now + LOG_EVERY_S, self.refused
