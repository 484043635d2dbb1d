"""Binding service ports, and finding out whether they accept connections."""

import socket
import time
from collections.abc import Sequence

from twistlock_console.common.errors import ListenerError

Address = tuple[str, int]
LOOK_EVERY = 0.002


def bind(address: Address, backlog: int) -> socket.socket:
    """Listen on *address*. Raises ListenerError, with the reason, if it cannot be."""
    try:
        return socket.create_server(address, backlog=backlog)
    except OSError as error:
        raise ListenerError(
            f"cannot listen on {address[0]}:{address[1]}: {error.strerror}"
        ) from error


def accepts(address: Address, timeout: float = 1.0) -> bool:
    """Say whether *address* accepts a connection now; silence counts as no."""
    host, port = address
    # A server on every address is asked on one that cannot be cut off.
    host = "127.0.0.1" if host == "0.0.0.0" else host  # noqa: S104 - not bound here
    try:
        socket.create_connection((host, port), timeout).close()
    except OSError:
        return False
    return True


def wait_until(accepting: bool, addresses: Sequence[Address], timeout: float) -> bool:
    """Wait until all *addresses* accept, or all refuse; False after *timeout* s."""
    deadline = time.monotonic() + timeout
    while any(accepts(address) is not accepting for address in addresses):
        if time.monotonic() > deadline:
            return False
        time.sleep(LOOK_EVERY)
    return True
