"""Find the process that wrote to a watched file, by fanotify (needs CAP_SYS_ADMIN).

fanotify reports writes alone: the process that changed rights or deleted a file is
unknown, and so is one that ended before its event was read. Source: man 7 fanotify.
"""

import ctypes
import logging
import os
import select
import threading
import time
from collections import OrderedDict
from contextlib import suppress
from pathlib import Path
from struct import Struct

from twistlock_defender.common.rights import Capability, has_capability

FAN_CLOEXEC = 0x01
FAN_NONBLOCK = 0x02
FAN_MARK_ADD = 0x01
FAN_MODIFY = 0x02
FAN_CLOSE_WRITE = 0x08
FAN_EVENT_ON_CHILD = 0x0800_0000
WRITTEN = ctypes.c_uint64(FAN_MODIFY | FAN_CLOSE_WRITE | FAN_EVENT_ON_CHILD)
AT_FDCWD = -100
EVENT = Struct("=IBBHQii")
"""Length, version, reserved, header's length, mask, descriptor, process."""
#: The size of 64 events; each event opens a file.
READ_BYTES = 64 * EVENT.size
COALESCE_S = 0.02
MAX_FILES = 10_000
log = logging.getLogger(__name__)

_libc = ctypes.CDLL(None, use_errno=True)


class WriterTracker:
    """Tracks the last writer of each file, on a thread of its own.

    Without CAP_SYS_ADMIN it tracks nothing.
    """

    def __init__(self) -> None:
        self._last: OrderedDict[tuple[int, int], str] = OrderedDict()
        self._stop_event = os.eventfd(0, os.EFD_CLOEXEC)
        self._events = _open() if has_capability(Capability.SYS_ADMIN) else -1
        self._thread = threading.Thread(target=self._read, name="writers", daemon=True)
        if self._events >= 0:
            self._thread.start()

    def close(self) -> None:
        """Stop the thread."""
        os.eventfd_write(self._stop_event, 1)
        if self._events >= 0:
            self._thread.join()
            os.close(self._events)
        os.close(self._stop_event)

    def watch(self, folder: str) -> None:
        """Track the writers of the files in *folder*, if the kernel allows it."""
        if self._events >= 0:
            path = os.fsencode(folder)
            _libc.fanotify_mark(self._events, FAN_MARK_ADD, WRITTEN, AT_FDCWD, path)

    def pop_writer(self, path: str) -> str | None:
        """Return the last writer of *path* since the last call, as ``name (pid)``."""
        try:
            found = os.lstat(path)
        except OSError:
            return None
        return self._last.pop((found.st_dev, found.st_ino), None)

    def _read(self) -> None:
        poll = select.poll()
        poll.register(self._events, select.POLLIN)
        poll.register(self._stop_event, select.POLLIN)
        while all(ready != self._stop_event for ready, _ in poll.poll()):
            # The kernel opens the file of each event, which may fail.
            with suppress(OSError):
                self._read_events(os.read(self._events, READ_BYTES))
            # Meanwhile the kernel coalesces the writes of a process to a file.
            time.sleep(COALESCE_S)

    def _read_events(self, data: bytes) -> None:
        for start in range(0, len(data), EVENT.size):
            *_, mask, file, pid = EVENT.unpack_from(data, start)
            if file < 0:
                # Events were lost: the known writers may not be the last ones.
                self._last.clear()
                continue
            # Each descriptor must be closed, even if an earlier one failed.
            with suppress(OSError):
                self._record_writer(file, pid, wrote=bool(mask & FAN_MODIFY))

    def _record_writer(self, file: int, pid: int, *, wrote: bool) -> None:
        try:
            found = os.fstat(file)
        finally:
            os.close(file)
        key = (found.st_dev, found.st_ino)
        try:
            name = Path(f"/proc/{pid}/comm").read_text(errors="replace").rstrip("\n")
        except OSError:
            self._last.pop(key, None)
            return
        # A process that closes a file may have written by a memory map, or not at all.
        if wrote or key not in self._last:
            self._last[key] = f"{name} ({pid})"
        if len(self._last) > MAX_FILES:
            self._last.popitem(last=False)


def _open() -> int:
    """Return a descriptor for events; -1 if the kernel refuses."""
    flags = FAN_CLOEXEC | FAN_NONBLOCK
    files = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK
    opened: int = _libc.fanotify_init(flags, files)
    if opened < 0:
        reason = os.strerror(ctypes.get_errno())
        log.warning("the writers of watched files are not known: fanotify: %s", reason)
    return opened
