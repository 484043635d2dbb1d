"""Which process wrote to a watched file, as fanotify tells who has the right to ask.

The kernel tells of content alone: who changed rights, or took something away, stays
unknown, and so does who has ended before we looked. Source: man 7 fanotify.
"""

import ctypes
import os
import select
import threading
from collections import OrderedDict
from pathlib import Path
from struct import Struct

from twistlock_defender.capabilities import Capability, may

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
ROOM = 8192
MOST = 10_000

_libc = ctypes.CDLL(None, use_errno=True)


class Writers:
    """Remembers who wrote last, on a thread of its own; nothing without the right."""

    def __init__(self) -> None:
        self._last: OrderedDict[tuple[int, int], str] = OrderedDict()
        self._events = _open() if may(Capability.SYS_ADMIN) else -1
        self._ending = os.eventfd(0, os.EFD_CLOEXEC)
        self._thread = threading.Thread(target=self._read, name="writers", daemon=True)
        if self._events >= 0:
            self._thread.start()

    def close(self) -> None:
        """Ask for nothing any more."""
        os.eventfd_write(self._ending, 1)
        if self._events >= 0:
            self._thread.join()
            os.close(self._events)
        os.close(self._ending)

    def watch(self, folder: str) -> None:
        """Ask for who writes to what is in *folder*; where that fails, nobody knows."""
        if self._events >= 0:
            path = os.fsencode(folder)
            _libc.fanotify_mark(self._events, FAN_MARK_ADD, WRITTEN, AT_FDCWD, path)

    def take(self, path: str) -> str | None:
        """Who wrote to *path* since we were last asked, as ``name (pid)``."""
        try:
            found = os.lstat(path)
        except OSError:
            return None
        return self._last.pop((found.st_dev, found.st_ino), None)

    def _read(self) -> None:
        poll = select.poll()
        poll.register(self._events, select.POLLIN)
        poll.register(self._ending, select.POLLIN)
        while all(ready != self._ending for ready, _ in poll.poll()):
            data = os.read(self._events, ROOM)
            start = 0
            while start < len(data):
                size, *_, file, pid = EVENT.unpack_from(data, start)
                start += size
                # There is none in the notice that notices were lost.
                if file >= 0:
                    self._note(file, pid)

    def _note(self, file: int, pid: int) -> None:
        try:
            written = os.fstat(file)
            name = Path(f"/proc/{pid}/comm").read_text(errors="replace").rstrip("\n")
        except OSError:
            return
        finally:
            os.close(file)
        self._last[written.st_dev, written.st_ino] = f"{name} ({pid})"
        if len(self._last) > MOST:
            self._last.popitem(last=False)


def _open() -> int:
    """Give a descriptor for events, or -1."""
    flags = FAN_CLOEXEC | FAN_NONBLOCK
    opened: int = _libc.fanotify_init(flags, os.O_RDONLY | os.O_CLOEXEC)
    return opened
