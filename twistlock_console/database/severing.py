"""Cuts connections of our mongod to another host.

MongoDB waits for up to 30 s for an answer from a host that vanished, with no setting
to shorten it, and meanwhile tells nobody else what it has stored. The kernel lets a
process take a copy of a descriptor of its own child; shutting that down ends the wait.
"""

import ctypes
import errno
import os
import socket
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path

PIDFD_GETFD = 438
_libc = ctypes.CDLL(None, use_errno=True)


def sever(pid: int, host: str, port: int) -> int:
    """Shut down what process *pid* has connected to *host* and *port*; say how many.

    Raises OSError where the kernel, or a sandbox around us, does not allow it.
    """
    return shut_down_sockets(pid, lambda each: each.getpeername() == (host, port))


def shut_down_sockets(pid: int, unwanted: Callable[[socket.socket], bool]) -> int:
    """Shut down the sockets of process *pid* that are *unwanted*; return how many.

    *unwanted* gets a copy of each; it may raise OSError for one that is no connection.
    Raises OSError where the kernel, or a sandbox around us, does not allow it.
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
        # It may be closed while we look.
        with suppress(FileNotFoundError):
            if str(entry.readlink()).startswith("socket:"):
                found.append(int(entry.name))
    return found


def shut_down_connections(
    process: int, descriptors: Iterable[int], unwanted: Callable[[socket.socket], bool]
) -> int:
    """Shut down those of *descriptors* that are *unwanted* connections; count them.

    *process* is the pidfd of the process that they belong to. It goes on running, so
    each may be closed, or be something else, by now: what counts is the copy.
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
    """Copy a descriptor of *process*; None if it, or the process, is gone by now."""
    copy: int = _libc.syscall(PIDFD_GETFD, process, descriptor, 0)
    if copy >= 0:
        return copy
    error = ctypes.get_errno()
    if error in (errno.EBADF, errno.ESRCH):
        return None
    raise OSError(error, os.strerror(error))
