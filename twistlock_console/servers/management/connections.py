"""Accept, limit and close the connections of the management server."""

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

ACCEPT_BATCH_SIZE = 128
LOG_INTERVAL_S = 10.0
RETRY_LATER_ERRORS = (errno.EAGAIN, errno.EWOULDBLOCK, errno.ECONNABORTED, errno.EINTR)
RESOURCE_ERRORS = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
log = logging.getLogger(__name__)


class Connections:
    """All open connections; for the main loop alone.

    Args:
        loop: Watches the connections.
        exempt: The keys of trusted proxies, which have no limit per client.
        max_total: How many connections there may be.
        on_output: Called, on any thread, when a connection has something to send.
        on_close: Called after a connection was closed.

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
        """Accept connections that wait at *listener*, a bounded number at a time."""
        for _ in range(ACCEPT_BATCH_SIZE):
            try:
                sock, peer = listener.accept()
            except OSError as error:
                if error.errno in RESOURCE_ERRORS:
                    self._close_idle("", "the server has no file descriptors left")
                elif error.errno not in RETRY_LATER_ERRORS:
                    raise
                return
            try:
                self._take(sock, peer, listener.getsockname())
            except OSError:
                # The client closed it already.
                sock.close()

    def drop(self, conn: Connection) -> None:
        """Close *conn* at once; do nothing if it is closed."""
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
        """Close every connection, and abandon answers in work."""
        for conn in list(self._all):
            self.drop(conn)

    def set_busy(self, conn: Connection) -> None:
        """Mark *conn* as busy with a request."""
        self._table.set_busy(conn.key, conn)

    def set_idle(self, conn: Connection) -> None:
        """Mark *conn* as idle from now on."""
        self._table.set_idle(conn.key, conn)

    def count_memory(self, conn: Connection) -> bool:
        """Count the memory of the request of *conn*; return False if it is too much."""
        size = conn.held_bytes
        by = size - self._held.pop(conn, 0)
        if size:
            self._held[conn] = size
        return self._memory.change(conn.key, by)

    def _take(
        self, sock: socket.socket, peer: SocketAddress, server: SocketAddress
    ) -> None:
        conn = Connection(sock, peer, server, self._on_output)
        if self._table.is_full_for(conn.key) and not self._close_idle(
            conn.key, f"{conn.key} has too many connections"
        ):
            conn.close()
            return
        self._all.add(conn)
        self._table.add(conn.key, conn)
        self._loop.watch(conn, EVENT_READ)
        deadline = time.monotonic() + limits.HANDSHAKE_TIMEOUT_S
        self._loop.set_deadline(conn, deadline)

    def _close_idle(self, key: str, reason: str) -> bool:
        """Close an idle connection for a new one of *key*; return False if none is."""
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
        self._log_at, self._logged = now + LOG_INTERVAL_S, self.refused
