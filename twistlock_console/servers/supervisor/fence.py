"""Fencing: keep a server from answering when its node's right to serve has ended.

Three guards, each for cases that the others miss: a check with every request and
frame; a thread that checks every 20 ms, so that an idle server ends as well; and a
kernel timer, which also acts on a stopped process, and on a thawed one before its
first instruction.
"""

import ctypes
import os
import select
import signal
import ssl
import threading
import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from twistlock_console.common.clock import SECOND, boottime_ns
from twistlock_console.system.serving_permit import FOREVER, Permit

if TYPE_CHECKING:
    from _typeshed import OptExcInfo, ReadableBuffer

TIMER_ABSTIME = 1
_libc = ctypes.CDLL(None, use_errno=True)
CHECK_INTERVAL_MS = 20


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
    """Kills this process, not its children, with SIGKILL; disarmed until it is set."""

    def __init__(self) -> None:
        self._id = ctypes.c_void_p()
        event = _Event(signo=signal.SIGKILL)
        _checked(
            _libc.timer_create(
                time.CLOCK_BOOTTIME, ctypes.byref(event), ctypes.byref(self._id)
            )
        )

    def set(self, deadline_ns: int) -> None:
        """Kill at *deadline_ns* of the boot-time clock; replaces the last deadline."""
        seconds, nanoseconds = divmod(max(deadline_ns, 1), SECOND)
        spec = _Spec(at_s=seconds, at_ns=nanoseconds)
        _checked(_libc.timer_settime(self._id, TIMER_ABSTIME, ctypes.byref(spec), None))


def _checked(result: int) -> None:
    if result:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))


class Fence:
    """Kills the caller's whole process group once *permit* does not hold any more.

    For a process that leads a group of its own. Any thread may check it.

    Args:
        permit: The node's right to serve, in shared memory.
        node_sentinel: A descriptor that becomes readable when the node process has
            ended, which ends the group as well.

    """

    def __init__(self, permit: Permit, node_sentinel: int) -> None:
        self._permit = permit
        self._node_sentinel = node_sentinel
        self.epoch = permit.epoch

    def holds(self) -> bool:
        """Return whether this server may answer now."""
        permit = self._permit
        return permit.valid(boottime_ns()) and permit.epoch == self.epoch

    def check(self) -> None:
        """Return if this server may answer now; otherwise kill its process group."""
        if not self.holds():
            end_own_group()

    def watch(self, *, kernel_timer: bool) -> None:
        """Start the thread that checks; after a fork the child must call it too.

        Args:
            kernel_timer: Have the kernel watch the deadline as well; for processes
                whose threads are never kept from running for long.

        """
        self.check()
        timer = KernelTimer() if kernel_timer else None
        threading.Thread(target=self._watch_permit, args=(timer,), daemon=True).start()

    def _watch_permit(self, timer: KernelTimer | None) -> None:
        set_to = FOREVER
        poll = select.poll()
        poll.register(self._node_sentinel, select.POLLIN)
        while not poll.poll(CHECK_INTERVAL_MS):
            self.check()
            deadline = self._permit.deadline_ns
            if timer and deadline != set_to:
                timer.set(deadline)
                set_to = deadline
        end_own_group()


class FencedApp:
    """A WSGI application that starts and answers requests only while *fence* holds.

    Each piece of a response is checked again when it is sent: see ``fenced_sockets``.
    """

    def __init__(self, app: WSGIApplication, fence: Fence) -> None:
        self._app = app
        self._fence = fence

    def __call__(
        self, environ: WSGIEnvironment, start_response: StartResponse
    ) -> Iterable[bytes]:
        """Answer one request."""

        def start(
            status: str,
            headers: list[tuple[str, str]],
            error: "OptExcInfo | None" = None,
        ) -> Callable[[bytes], object]:
            self._fence.check()
            return start_response(status, headers, error)

        self._fence.check()
        return self._app(environ, start)


def fenced_sockets(fence: Fence) -> type[ssl.SSLSocket]:
    """Return a class of TLS sockets that check *fence* before they send anything."""

    class FencedSocket(ssl.SSLSocket):
        def send(self, data: "ReadableBuffer", flags: int = 0) -> int:
            fence.check()
            return super().send(data, flags)

    return FencedSocket


def end_own_group() -> None:
    """Kill every process of this group, the caller included, at once."""
    os.killpg(os.getpgrp(), signal.SIGKILL)
