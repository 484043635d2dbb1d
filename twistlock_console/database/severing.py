"""Cuts connections of our mongod to another host.

MongoDB waits for up to 30 s for an answer from a host that vanished, with no setting
to shorten it, and meanwhile tells nobody else what it has stored. The kernel lets a
process take a copy of a descriptor of its own child; shutting that down ends the wait.
"""

import ctypes
import errno
import os
import socket
from contextlib import suppress
from pathlib import Path

PIDFD_GETFD = 438
_libc = ctypes.CDLL(None, use_errno=True)


def sever(pid: int, host: str, port: int) -> int:
    """Shut down what process *pid* has connected to *host* and *port*; say how many.

    Raises OSError where the kernel, or a sandbox around us, does not allow it.
    """
    process = os.pidfd_open(pid)
    try:
        return sum(
            _shut_down(process, descriptor, (host, port))
            for descriptor in _sockets(Path(f"/proc/{pid}/fd"))
        )
    finally:
        os.close(process)


def _sockets(folder: Path) -> list[int]:
    found = []
    for entry in folder.iterdir():
        # It may be closed while we look.
        with suppress(FileNotFoundError):
            if str(entry.readlink()).startswith("socket:"):
                found.append(int(entry.name))
    return found


def _shut_down(process: int, descriptor: int, peer: tuple[str, int]) -> bool:
    copy = _libc.syscall(PIDFD_GETFD, process, descriptor, 0)
    if copy < 0:
        error = ctypes.get_errno()
        if error == errno.EBADF:
            return False  # closed since we looked
        raise OSError(error, os.strerror(error))
    with socket.socket(fileno=copy) as connection, suppress(OSError):
        if connection.getpeername() == peer:
            connection.shutdown(socket.SHUT_RDWR)
            return True
    return False
