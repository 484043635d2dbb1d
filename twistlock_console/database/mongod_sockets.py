"""Shut down sockets of mongod: to an unreachable host, or without a TLS handshake.

MongoDB waits up to 30 s for a host that no longer answers, which no setting shortens,
and meanwhile reports its progress to no other member. MongoDB 6.0 has no timeout for a
TLS handshake either: a silent connection keeps its place and its two descriptors
forever. The kernel lets a process duplicate a descriptor of its own child (see
pidfd_getfd(2)); shutting down the duplicate ends the wait.
"""

import ctypes
import errno
import logging
import os
import socket
import struct
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path

PIDFD_GETFD = 438
_libc = ctypes.CDLL(None, use_errno=True)
#: mongod at rest has about 120 descriptors; sockets are examined only with many more.
MIN_DESCRIPTORS_TO_CHECK = 400
HANDSHAKE_TIMEOUT_MS = 3000
#: A client's handshake with its certificate is longer (measured: 1,746 bytes).
MIN_HANDSHAKE_BYTES = 1000
# struct tcp_info of <linux/tcp.h>: tcpi_last_data_recv (ms), and tcpi_bytes_received.
_TCP_INFO_BYTES = 136
_LAST_DATA_RECEIVED = 8 + 11 * 4
_BYTES_RECEIVED = 8 + 24 * 4 + 3 * 8
log = logging.getLogger(__name__)


def shut_down_connections_to(pid: int, host: str, port: int) -> int:
    """Shut down the connections of process *pid* to *host* and *port*; count them.

    Raises:
        OSError: the kernel, or a sandbox around this process, does not allow it.

    """
    return shut_down_sockets(pid, lambda each: each.getpeername() == (host, port))


def shut_down_sockets(pid: int, unwanted: Callable[[socket.socket], bool]) -> int:
    """Shut down the sockets of process *pid* that are *unwanted*; return their number.

    Args:
        pid: a child of this process.
        unwanted: gets a duplicate of each socket; it may raise OSError for a socket
            that is not connected.

    Raises:
        OSError: the kernel, or a sandbox around this process, does not allow it.

    """
    process = os.pidfd_open(pid)
    try:
        descriptors = socket_descriptors(Path(f"/proc/{pid}/fd"))
        return shut_down_connections(process, descriptors, unwanted)
    finally:
        os.close(process)


def socket_descriptors(folder: Path) -> list[int]:
    """Return the descriptors in *folder* that were sockets when they were read."""
    found = []
    for entry in folder.iterdir():
        # The descriptor may be closed meanwhile.
        with suppress(FileNotFoundError):
            if str(entry.readlink()).startswith("socket:"):
                found.append(int(entry.name))
    return found


def shut_down_connections(
    process: int, descriptors: Iterable[int], unwanted: Callable[[socket.socket], bool]
) -> int:
    """Shut down the *descriptors* that are *unwanted* connections; return their number.

    *process* is the pidfd of the process that they belong to. It continues to run, so
    a descriptor may be closed or reused by now: *unwanted* judges the duplicate.
    """
    return sum(_shut_down(process, descriptor, unwanted) for descriptor in descriptors)


def _shut_down(
    process: int, descriptor: int, unwanted: Callable[[socket.socket], bool]
) -> bool:
    copy = _copy_descriptor(process, descriptor)
    if copy is None:
        return False
    try:
        connection = socket.socket(fileno=copy)
    except OSError:  # no socket: the number was given to something else
        os.close(copy)
        return False
    with connection, suppress(OSError):
        if unwanted(connection):
            connection.shutdown(socket.SHUT_RDWR)
            return True
    return False


def _copy_descriptor(process: int, descriptor: int) -> int | None:
    """Duplicate a descriptor of *process*; return None if either no longer exists."""
    copy: int = _libc.syscall(PIDFD_GETFD, process, descriptor, 0)
    if copy >= 0:
        return copy
    error = ctypes.get_errno()
    if error in (errno.EBADF, errno.ESRCH):
        return None
    raise OSError(error, os.strerror(error))


def close_unfinished_handshakes(pid: int, port: int) -> int:
    """Close silent connections to *port* of process *pid*; return their number.

    Do nothing while the process has few descriptors. If the kernel, or a sandbox
    around this process, does not allow it, log that.
    """
    try:
        if sum(1 for _ in Path(f"/proc/{pid}/fd").iterdir()) < MIN_DESCRIPTORS_TO_CHECK:
            return 0
        closed = shut_down_sockets(pid, lambda each: _is_silent(each, port))
    except OSError as error:
        log.debug("silent connections to mongod cannot be closed: %s", error)
        return 0
    if closed:
        log.warning(
            "closed %s connections to the database that completed no TLS handshake "
            "within %s s; a firewall should allow port %s for the hosts of the cluster "
            "alone (see docs/security.md)",
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
