"""This process and its children: limits, death with the parent, and ending groups."""

import ctypes
import logging
import os
import resource
import select
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress
from typing import NoReturn

from twistlock_console.common.clock import MILLISECOND, SECOND, boottime_ns

MAX_OPEN_FILES = 1_048_576
"""Assumed where there is no limit."""
PR_SET_PDEATHSIG = 1
POLL_SLICE_MS = 200
KILL_TIMEOUT_S = 5

#: Becomes the program in argv[2:], unless the parent argv[1] has died meanwhile.
_BOUND_EXEC = (
    "import ctypes, os, sys; "
    f"ctypes.CDLL(None).prctl({PR_SET_PDEATHSIG}, {int(signal.SIGKILL)}, 0, 0, 0); "
    "os.getppid() == int(sys.argv[1]) and os.execv(sys.argv[2], sys.argv[2:])"
)
log = logging.getLogger(__name__)


def raise_file_limit() -> int:
    """Raise the soft limit to the hard limit, and return it.

    A service manager often starts programs with a soft limit of 1,024, which a few
    hundred connections use up.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return MAX_OPEN_FILES if hard == resource.RLIM_INFINITY else hard


def with_parent_death_signal(argv: Sequence[str]) -> list[str]:
    """Return a command that runs *argv* and is killed when this process ends.

    The kernel watches the *thread* that starts it: that thread must live as long as
    the program should. argv[0] is a full path.
    """
    # Not a preexec_fn: it runs Python between fork and exec, which can deadlock in
    # a process with threads. Not `setpriv --pdeathsig`: it does not notice that the
    # parent died before it got to ask, and older ones lack the option. A bare
    # interpreter does both and costs about 15 ms.
    return [sys.executable, "-I", "-S", "-c", _BOUND_EXEC, str(os.getpid()), *argv]


def die_with_parent(
    number: signal.Signals = signal.SIGKILL, *, parent: int | None = None
) -> None:
    """Ask the kernel to send *number* to this process when its parent ends.

    For the first line of a forked child. A *parent* that was read before the fork
    reveals that it died even before this call. Raises OSError if the kernel refuses.
    """
    expected = os.getppid() if parent is None else parent
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_PDEATHSIG, int(number), 0, 0, 0):
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG) was refused")
    if os.getppid() != expected:
        os.kill(os.getpid(), number)


def end_group(pid: int, *, grace: float) -> bool:
    """End the process group that *pid* leads, and reap *pid* if it is our child.

    SIGTERM first, and SIGKILL for what is left after *grace* seconds. Says whether
    *pid* ended within the grace. A group that is gone already is fine, and one that
    SIGKILL does not end within KILL_TIMEOUT_S (it hangs in a disk) is left behind.
    """
    if pid <= 1:
        raise ValueError(f"{pid} leads no group of ours")
    deadline = boottime_ns() + round(grace * SECOND)
    try:
        watch = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        _signal_group(pid, watch, signal.SIGTERM)
        graceful = _wait_for_exit(watch, deadline)
        # While the leader is not reaped, its number cannot belong to another group.
        _signal_group(pid, watch, signal.SIGKILL)
        _wait_for_exit(watch, boottime_ns() + KILL_TIMEOUT_S * SECOND)
    finally:
        os.close(watch)
    with suppress(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)
    return graceful


def abort_process(reason: str) -> NoReturn:
    """End this process at once because of the exception that is being handled.

    Its servers and its database end with it, and the supervisor (systemd)
    restarts it, which is better than a node that goes on without one of its threads.
    """
    log.critical("%s; the node ends", reason, exc_info=True)  # noqa: LOG014
    os._exit(1)


def _signal_group(pid: int, watch: int, number: signal.Signals) -> None:
    try:
        os.killpg(pid, number)
    except ProcessLookupError:
        # It ended, or does not lead a group yet.
        with suppress(ProcessLookupError):
            signal.pidfd_send_signal(watch, number)


def _wait_for_exit(watch: int, deadline: int) -> bool:
    """Wait for the process behind the pidfd *watch*, at most until *deadline*."""
    poll = select.poll()
    poll.register(watch, select.POLLIN)
    # In slices, because poll's own time-out stands still while the host sleeps.
    while (left := deadline - boottime_ns()) > 0:
        if poll.poll(min(left // MILLISECOND + 1, POLL_SLICE_MS)):
            return True
    return bool(poll.poll(0))
