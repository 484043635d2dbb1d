"""The roots of a rule, each watched as far as the kernel lets us."""

import errno
import os
import re
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from twistlock_console.protocol import HostRule, WatchedPath
from twistlock_defender.common.clock import boottime
from twistlock_defender.common.problems import Troubles
from twistlock_defender.files.inotify import Held, Notices
from twistlock_defender.files.rules import below

INODE = re.compile(r"^inotify .*\bino:([0-9a-f]+)", re.MULTILINE)
SETTLE_SECONDS = 0.5
ANEW_SECONDS = 600.0
NO_MORE_WATCHES = (
    "too many inotify watches; raise fs.inotify.max_user_watches "
    "(it is compared every 10 s instead)"
)


class WatchedRoots:
    """The roots of *rule*, as far as the kernel lets us watch them; it says if not."""

    def __init__(self, rule: HostRule, notices: Notices, troubles: Troubles) -> None:
        self._rule = rule
        self._notices = notices
        self._troubles = troubles
        self.missing = list(rule.files.paths)
        self.incomplete = False
        self._anew_at = 0.0
        self._held: dict[WatchedPath, Held] = {}

    @property
    def folders(self) -> list[str]:
        """Those that are watched for the roots: of a file, the one it is in."""
        return [held.path for held in self._held.values()]

    def close(self) -> None:
        """Clear the troubles told."""
        for root in self.missing:
            self._troubles.clear(f"watching {root.path}")
        for root in self._rule.files.paths:
            self._troubles.clear(f"below {root.path}")

    def watch(self) -> None:
        """Begin to watch what is not watched yet, or not any more."""
        for root, held in list(self._held.items()):
            if not self._notices.stands(held):
                self._notices.forget(self._held.pop(root))
                self.missing.append(root)
        for root in list(self.missing):
            topic = f"watching {root.path}"
            try:
                self._held[root] = self._notices.watch(root)
            except (OSError, ValueError) as error:
                sentence = f"{root.path} cannot be watched: {_reason(error)}"
                self._troubles.tell(topic, sentence, self._rule.name)
            else:
                self.missing.remove(root)
                self._troubles.clear(topic)

    def check(self, folders: Sequence[str]) -> None:
        """See that the kernel watches all *folders*, and tell if it does not.

        watchdog passes over a folder for which no watch is left, and says nothing.
        """
        if lost := _lost(folders):
            # A new folder has its watch a moment after it is there.
            time.sleep(SETTLE_SECONDS)
            lost = _lost(folders)
        if lost and boottime() >= self._anew_at:
            # There may be watches again.
            self._anew_at = boottime() + ANEW_SECONDS
            self._begin_anew(lost)
            lost = _lost(folders)
        self.incomplete = bool(lost)
        for root in self._rule.files.paths:
            topic = f"below {root.path}"
            if any(below(root.path, path) for path in lost):
                sentence = f"folders below {root.path} are not watched: "
                self._troubles.tell(topic, sentence + NO_MORE_WATCHES, self._rule.name)
            else:
                self._troubles.clear(topic)

    def _begin_anew(self, lost: Sequence[str]) -> None:
        for root, held in list(self._held.items()):
            if any(below(held.path, path) for path in lost):
                self._notices.forget(self._held.pop(root))
                self.missing.append(root)
        self.watch()


def _lost(folders: Sequence[str]) -> list[str]:
    """Those of *folders* that the kernel does not watch.

    Some file systems show the kernel's notices other numbers than us: of one where no
    folder seems to be watched, nothing is said.
    """
    known = _watched_by_the_kernel()
    found = {path: at for path in folders if (at := _place(path))}
    comparable = {device for device, number in found.values() if number in known}
    return [
        path
        for path, (device, number) in found.items()
        if device in comparable and number not in known
    ]


def _watched_by_the_kernel() -> set[int]:
    """The numbers of all files and folders that this process has inotify watch.

    Source: man 5 proc, /proc/pid/fdinfo.
    """
    found: set[int] = set()
    for entry in os.scandir("/proc/self/fd"):
        with suppress(OSError):
            if os.readlink(entry.path) == "anon_inode:inotify":  # noqa: PTH115
                info = Path("/proc/self/fdinfo", entry.name).read_text()
                found |= {int(number, 16) for number in INODE.findall(info)}
    return found


def _place(path: str) -> tuple[int, int] | None:
    """The file system of the folder at *path*, and its number there."""
    try:
        found = os.stat(path)  # noqa: PTH116
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _reason(error: OSError | ValueError) -> str:
    if isinstance(error, ValueError):
        return f"no path can be so ({error}); mend it in the rule"
    match error.errno:
        case errno.ENOENT | errno.ENOTDIR:
            return "it is not there; create it or take it out of the rule"
        case errno.EACCES | errno.EPERM:
            return "not permitted; run the Defender as root"
        case errno.ENOSPC:
            return NO_MORE_WATCHES
        case errno.EMFILE:
            return (
                "too many inotify instances; raise fs.inotify.max_user_instances "
                "(it is compared every 10 s instead)"
            )
        case _:
            return error.strerror or str(error)
