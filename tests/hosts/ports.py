"""Free ports of the loopback for servers that a test starts a moment later."""

import itertools
import os
import random
import socket
from collections.abc import Iterator

#: Below the ports that the kernel gives to outgoing connections, 32768 by default: one
#: of those may take a port between the moment it is found and the server's start.
FIRST, LAST = 20_000, 32_000
HERE = "127.0.0.1"


def _candidates() -> Iterator[int]:
    ports = list(range(FIRST, LAST))
    random.Random(os.getpid()).shuffle(ports)  # noqa: S311  workers begin elsewhere
    return itertools.cycle(ports)


_ports = _candidates()


def free_port(address: str = HERE) -> int:
    """Return a port on which nothing listens, and which was not given out lately."""
    for port in itertools.islice(_ports, LAST - FIRST):
        with socket.socket() as probe:
            try:
                probe.bind((address, port))
            except OSError:
                continue
            return port
    raise OSError(f"no port between {FIRST} and {LAST} is free")


def free_ports(count: int) -> list[int]:
    """Return *count* such ports, all different."""
    return [free_port() for _ in range(count)]
