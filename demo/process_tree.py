"""Signals to a process and to everything below it."""

import os
import signal
import time
from contextlib import suppress
from pathlib import Path

from twistlock_console.common.clock import SECOND, boottime_ns

PROC = Path("/proc")
GONE_SECONDS = 5.0


def signal_tree(root: int, number: signal.Signals) -> set[int]:
    """Send *number* to *root* and to all below it; give whom it reached.

    Looks again until nobody new turns up: processes start others meanwhile.
    """
    reached: set[int] = set()
    while new := _below(root) - reached:
        # The root first, so that it starts nothing more.
        for pid in sorted(new, key=lambda pid: (pid != root, pid)):
            with suppress(ProcessLookupError):
                os.kill(pid, number)
        reached |= new
    return reached


def kill_tree(root: int) -> set[int]:
    """End *root* and all below it at one moment, as if the host had died.

    Returns when they are gone, at most after GONE_SECONDS; gives those that are not.
    """
    # Stopped first: otherwise the first ones' death would be news to the last ones.
    doomed = signal_tree(root, signal.SIGSTOP)
    for pid in doomed:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    deadline = boottime_ns() + int(GONE_SECONDS * SECOND)
    while (left := {pid for pid in doomed if _lives(pid)}) and boottime_ns() < deadline:
        time.sleep(0.01)
    return left


def _below(root: int) -> set[int]:
    parents = {pid: parent for pid in _pids() if (parent := _parent(pid)) is not None}
    found = {root} & parents.keys()
    while more := {pid for pid, up in parents.items() if up in found} - found:
        found |= more
    return found


def _pids() -> list[int]:
    return [int(entry.name) for entry in PROC.iterdir() if entry.name.isdigit()]


def _stat(pid: int) -> list[str]:
    """The fields of /proc/PID/stat after the program's name, which may hold blanks."""
    try:
        return (PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []


def _parent(pid: int) -> int | None:
    fields = _stat(pid)
    return int(fields[1]) if fields else None


def _lives(pid: int) -> bool:
    fields = _stat(pid)
    return bool(fields) and fields[0] not in "ZX"
