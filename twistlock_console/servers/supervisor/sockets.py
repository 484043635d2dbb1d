"""Bind service ports, and check whether they accept connections."""

import socket
import time
from collections.abc import Sequence

from twistlock_console.common.errors import ListenerError
from twistlock_console.settings.host import lacks_ipv6

Address = tuple[str, int]
POLL_INTERVAL_S = 0.002
LOOPBACK = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - not bound here


def bind(address: Address, backlog: int) -> socket.socket:
    """Listen on *address*; raise ListenerError, with the reason, if that fails."""
    family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
    try:
        return socket.create_server(address, family=family, backlog=backlog)
    except OSError as error:
        raise ListenerError(
            f"cannot listen on {address[0]}:{address[1]}: {error.strerror}"
        ) from error


def bind_all(addresses: Sequence[Address], backlog: int) -> list[socket.socket]:
    """Listen on all *addresses*; on a host without IPv6 only on those of IPv4.

    Raises:
        ListenerError: One of them failed; none is left open.

    """
    bound: list[socket.socket] = []
    try:
        for address in addresses:
            try:
                bound.append(bind(address, backlog))
            except ListenerError as error:
                cause = error.__cause__
                if not (isinstance(cause, OSError) and lacks_ipv6(address[0], cause)):
                    raise
    except ListenerError:
        for each in bound:
            each.close()
        raise
    return bound


def accepts(address: Address, timeout: float = 1.0) -> bool:
    """Return whether *address* accepts a connection within *timeout* s."""
    host, port = address
    # A server on all addresses is checked on loopback, which no firewall cuts off.
    host = LOOPBACK.get(host, host)
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
        time.sleep(POLL_INTERVAL_S)
    return True
