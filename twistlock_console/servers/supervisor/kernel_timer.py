"""A timer in the kernel that kills this process at a boot-time instant.

Checks in our own code cannot act while the process is stopped, and after it was
thawed they come a few instructions too late. The kernel's timer acts on a stopped
process too, and on a thawed one before its first instruction.
"""

import ctypes
import os
import signal
import time

from twistlock_console.common.clock import SECOND

TIMER_ABSTIME = 1
_libc = ctypes.CDLL(None, use_errno=True)


class _Event(ctypes.Structure):
    """``struct sigevent``; SIGEV_SIGNAL is 0."""

    _fields_ = (
        ("value", ctypes.c_void_p),
        ("signo", ctypes.c_int),
        ("notify", ctypes.c_int),
        ("padding", ctypes.c_byte * 48),
    )


class _Spec(ctypes.Structure):
    """``struct itimerspec``: every, then first, each in seconds and nanoseconds."""

    _fields_ = tuple(
        (name, ctypes.c_long) for name in ("every_s", "every_ns", "at_s", "at_ns")
    )


class KernelTimer:
    """Kills this process, not its children, with SIGKILL; disarmed at first."""

    def __init__(self) -> None:
        self._id = ctypes.c_void_p()
        event = _Event(signo=signal.SIGKILL)
        _checked(
            _libc.timer_create(
                time.CLOCK_BOOTTIME, ctypes.byref(event), ctypes.byref(self._id)
            )
        )

    def set(self, deadline_ns: int) -> None:
        """Strike when the boot-time clock shows *deadline_ns*; replaces the last."""
        seconds, nanoseconds = divmod(max(deadline_ns, 1), SECOND)
        spec = _Spec(at_s=seconds, at_ns=nanoseconds)
        _checked(_libc.timer_settime(self._id, TIMER_ABSTIME, ctypes.byref(spec), None))


def _checked(result: int) -> None:
    if result:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))
