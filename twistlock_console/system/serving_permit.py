"""The right to serve: an epoch and a deadline in memory that child processes share.

The node process writes, its service servers read. The two numbers are written one
after the other without a lock, so that a reader can never be made to wait; a reader
that was started under one epoch takes a change of the epoch for the end of its right.
"""

import ctypes
from multiprocessing import get_context

FOREVER = 2**63 - 1
"""The deadline of a node that shares its role with no other."""


class Permit:
    """The deadline (boot-time ns of this host) and the epoch under which a node serves.

    It is revoked at first. It can be passed to a child as an argument of its process.
    """

    def __init__(self) -> None:
        self._numbers = get_context("forkserver").RawArray(ctypes.c_int64, 2)

    def grant(self, epoch: int, deadline_ns: int) -> None:
        """Allow serving as *epoch* until the boot-time clock shows *deadline_ns*."""
        # The epoch goes first: a server left over from an earlier epoch must never
        # see the new deadline beside its own epoch.
        self._numbers[0] = epoch
        self._numbers[1] = deadline_ns

    def revoke(self) -> None:
        """Forbid serving from now on."""
        self._numbers[1] = 0

    @property
    def epoch(self) -> int:
        """Return the epoch last granted, 0 before the first."""
        return int(self._numbers[0])

    @property
    def deadline_ns(self) -> int:
        """Return the boot-time instant at which the right ends; 0 if it is revoked."""
        return int(self._numbers[1])

    def valid(self, now_ns: int) -> bool:
        """Return whether serving is allowed at *now_ns*."""
        return bool(now_ns < self._numbers[1])
