"""Closes connections to our mongod on which no TLS handshake is completed.

MongoDB 6.0 has no time limit for a handshake: a connection that never speaks keeps
its place, and its two descriptors, for good. The kernel knows how many bytes arrived.
"""

import logging
import socket
import struct
from pathlib import Path

from twistlock_console.database.severing import shut_down_sockets

#: mongod at rest has about 120 descriptors; sockets are examined only with many more.
CROWD_DESCRIPTORS = 400
HANDSHAKE_TIMEOUT_MS = 3000
#: A client's handshake with its certificate is longer (measured: 1,746 bytes).
MIN_HANDSHAKE_BYTES = 1000
# struct tcp_info of <linux/tcp.h>: tcpi_last_data_recv (ms), and tcpi_bytes_received.
_TCP_INFO_BYTES = 136
_LAST_DATA_RECEIVED = 8 + 11 * 4
_BYTES_RECEIVED = 8 + 24 * 4 + 3 * 8
log = logging.getLogger(__name__)


def close_unfinished_handshakes(pid: int, port: int) -> int:
    """Close the connections to *port* of process *pid* that stay silent; say how many.

    Does nothing while the process has few descriptors. Where the kernel, or a sandbox
    around us, does not allow it, that is logged.
    """
    try:
        if sum(1 for _ in Path(f"/proc/{pid}/fd").iterdir()) < CROWD_DESCRIPTORS:
            return 0
        closed = shut_down_sockets(pid, lambda each: _is_silent(each, port))
    except OSError as error:
        log.debug("silent connections to mongod cannot be closed: %s", error)
        return 0
    if closed:
        log.warning(
            "closed %s connections to the database that completed no TLS handshake "
            "within %s s; a firewall should keep strangers from port %s (see "
            "docs/security.md)",
            closed,
            HANDSHAKE_TIMEOUT_MS // 1000,
            port,
        )
    return closed


def _is_silent(connection: socket.socket, port: int) -> bool:
    """Return whether *connection* was accepted on *port* and its peer says nothing."""
    connection.getpeername()  # a listening socket has no peer: OSError
    if connection.getsockname()[1] != port:
        return False
    info = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TCP_INFO_BYTES)
    (quiet_ms,) = struct.unpack_from("=I", info, _LAST_DATA_RECEIVED)
    (received,) = struct.unpack_from("=Q", info, _BYTES_RECEIVED)
    return bool(quiet_ms >= HANDSHAKE_TIMEOUT_MS and received < MIN_HANDSHAKE_BYTES)
