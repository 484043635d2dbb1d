"""Read the host's processes from /proc, and kill one."""

import os
import select
import signal
from contextlib import closing
from pathlib import Path

from twistlock_defender.processes.rules import Process

KERNEL_THREAD = 0x00200000
PROC = Path("/proc")
KILL_TIMEOUT_S = 1.0
ENDED = "ended"


def list_pids() -> list[int]:
    """Return the ids of all processes."""
    return [int(entry) for entry in os.listdir(PROC) if entry.isdecimal()]  # noqa: PTH208  twice as fast, four times a second


def read_process(pid: int) -> Process | None:
    """Return the program that *pid* runs; None for kernel threads and ended ones."""
    try:
        stat = (PROC / str(pid) / "stat").read_bytes()
    except OSError:
        return None
    before, _, after = stat.rpartition(b")")
    try:
        state, flags, started = _fields(after)
    except (IndexError, ValueError):
        return None
    if state in (b"Z", b"X") or flags & KERNEL_THREAD:
        return None
    name = os.fsdecode(before.partition(b"(")[2])
    path = _path(pid)
    invoked_as = path or read_command(pid).split(" ")[0]
    return Process(pid, started, path, name, invoked_as)


def _fields(after: bytes) -> tuple[bytes, int, int]:
    """Return state, flags and time of start from what follows the name in stat."""
    fields = after.split()
    return fields[0], int(fields[6]), int(fields[19])


def _path(pid: int) -> str:
    try:
        path = os.readlink(PROC / str(pid) / "exe")  # noqa: PTH115  fast, and no Path
    except OSError:
        return ""
    return path.removesuffix(" (deleted)")


def read_command(pid: int) -> str:
    """Return the command line of *pid*; "" if it cannot be read."""
    try:
        words = (PROC / str(pid) / "cmdline").read_bytes()
    except OSError:
        return ""
    return os.fsdecode(words.rstrip(b"\0").replace(b"\0", b" "))


def read_owner(pid: int) -> int | None:
    """Return the user id that *pid* runs as; None if it has ended."""
    try:
        return (PROC / str(pid)).stat().st_uid
    except OSError:
        return None


def kill_process(process: Process) -> str:
    """Kill *process*, but no later process with its id; return the outcome.

    The outcome is the sentence of `ProcessEvent`.
    """
    if process.pid in (1, os.getpid()):
        return "could not be ended: the host or the Defender would go with it"
    try:
        with closing(_ProcessHandle(process.pid)) as handle:
            now = read_process(process.pid)
            if now is None or now.started != process.started:
                return "could not be ended: it had ended by itself"
            return (
                ENDED if handle.kill() else "could not be ended: it hangs in the kernel"
            )
    except ProcessLookupError:
        return "could not be ended: it had ended by itself"
    except PermissionError:
        return "could not be ended: not permitted; run the Defender as root"
    except OSError as error:
        return f"could not be ended: {error.strerror}"


class _ProcessHandle:
    """A process by pidfd, which no later process with the same id has."""

    def __init__(self, pid: int) -> None:
        self._fd = os.pidfd_open(pid)

    def close(self) -> None:
        os.close(self._fd)

    def kill(self) -> bool:
        """Send SIGKILL; return whether the process ended within KILL_TIMEOUT_S."""
        signal.pidfd_send_signal(self._fd, signal.SIGKILL)
        poll = select.poll()
        poll.register(self._fd, select.POLLIN)
        return bool(poll.poll(KILL_TIMEOUT_S * 1000))
