"""Check the backup volume, and limit the wait for a volume that hangs."""

import os
import shutil
import socket
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from twistlock_console.common.errors import ConsoleError

LOW_BYTES = 256 * 1024**2
TIMEOUT_S = 4.0
T = TypeVar("T")


def volume_health(root: Path) -> str | None:
    """Return the problem of the volume at *root*; None if there is none.

    A file is written, read back and deleted: a mounted volume may not be writable.
    """
    probe = root / f".probe-{socket.gethostname()}-{os.getpid()}"
    wanted = os.urandom(32)
    try:
        free = shutil.disk_usage(root).free
        probe.write_bytes(wanted)
        found = probe.read_bytes()
        probe.unlink()
    except OSError as error:
        return f"the backup volume {root} cannot be used: {error.strerror}"
    if found != wanted:
        return f"the backup volume {root} returned other bytes than were written"
    if free < LOW_BYTES:
        return f"only {free // 1024**2} MB are free on the backup volume {root}"
    return None


class VolumeCalls:
    """Runs calls on a volume with a timeout, one at a time, each on its own thread.

    A network volume can block a thread for ever. While a call blocks, no other is
    started, so that at most one thread is lost.
    """

    def __init__(self, what: str) -> None:
        self._what = what
        self._lock = threading.Lock()

    def call(self, work: Callable[[], T], seconds: float = TIMEOUT_S) -> T:
        """Return the result of *work*; raises ConsoleError after *seconds*."""
        if not self._lock.acquire(timeout=seconds):
            raise self._slow(seconds)
        outcome: list[T] = []
        failure: list[Exception] = []

        def run() -> None:
            try:
                outcome.append(work())
            except Exception as error:
                failure.append(error)
            finally:
                self._lock.release()

        thread = threading.Thread(target=run, name="volume", daemon=True)
        thread.start()
        thread.join(seconds)
        if failure:
            raise failure[0]
        if not outcome:
            raise self._slow(seconds)
        return outcome[0]

    def _slow(self, seconds: float) -> ConsoleError:
        return ConsoleError(
            f"{self._what} did not answer within {seconds:g} s; check its disk or "
            "its network"
        )
