"""Limits of mongod's incoming connections, so that strangers cannot exhaust its files.

Measured with MongoDB 6.0.5: each connection holds two descriptors, a connection that
never speaks is kept for good, and WiredTiger aborts the process when it cannot open a
file. Connections beyond the maximum are closed at once.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address

from twistlock_console.system.file_limit import raise_file_limit

log = logging.getLogger(__name__)
#: The limit of open files that a host should allow.
WANTED_OPEN_FILES = 64_000
MAX_INCOMING_CONNECTIONS = 1000
#: Of the open files, one part in eight for the counted connections (two files each):
#: the rest is for the exempt connections, the data files and the journal.
OPEN_FILES_PER_CONNECTION = 8
MIN_INCOMING_CONNECTIONS = 100


@dataclass(frozen=True, slots=True)
class ConnectionLimits:
    """The number of connections that mongod accepts, and the addresses not counted."""

    max_incoming: int = MAX_INCOMING_CONNECTIONS
    exempt_addresses: tuple[str, ...] = ()


def limits_for(open_files: int, members: Sequence[str]) -> ConnectionLimits:
    """Return the limits of a mongod that may open *open_files* files.

    The addresses of *members*, this node's own among them, are exempt: strangers that
    use up the maximum lock out neither them nor this Console. A loopback address is
    not exempt, because each program of the host can take it.
    """
    affordable = open_files // OPEN_FILES_PER_CONNECTION
    maximum = max(MIN_INCOMING_CONNECTIONS, min(MAX_INCOMING_CONNECTIONS, affordable))
    exempt = [each for each in members if not IPv4Address(each).is_loopback]
    return ConnectionLimits(maximum, tuple(dict.fromkeys(exempt)))


def raise_open_files_limit() -> int:
    """Raise this process's limit of open files, which mongod inherits; return it.

    Logs a warning where the host allows fewer than mongod should have.
    """
    available = raise_file_limit()
    if available < MAX_INCOMING_CONNECTIONS * OPEN_FILES_PER_CONNECTION:
        log.warning(
            "only %s files may be open, so mongod accepts fewer connections; raise the "
            "limit of open files to %s (LimitNOFILE, or ulimit -n)",
            available,
            WANTED_OPEN_FILES,
        )
    return available
