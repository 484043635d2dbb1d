"""The roots of a rule, each watched as far as the kernel lets us."""

import errno
import os
import re
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from twistlock_console.protocol import HostRule, WatchedPath
from twistlock_defender.file_notices import Held, Notices
from twistlock_defender.file_rules import below
from twistlock_defender.troubles import Troubles

INODE = re.compile(r"^inotify .*\bino:([0-9a-f]+)", re.MULTILINE)
SETTLE_SECONDS = 0.5
LOST = "folders without notices"
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
        self._held: dict[WatchedPath, Held] = {}

    @property
    def folders(self) -> list[str]:
        """Those that are watched for the roots: of a file, the one it is in."""
        return [held.path for held in self._held.values()]

    def close(self) -> None:
        """Clear the troubles told."""
        for root in self.missing:
            self._troubles.clear(f"watching {root.path}")
        self._troubles.clear(LOST)

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
            except OSError as error:
                sentence = f"{root.path} cannot be watched: {_reason(error)}"
                self._troubles.tell(topic, sentence, self._rule.name)
            else:
                self.missing.remove(root)
                self._troubles.clear(topic)

    def check(self, folders: Sequence[str]) -> None:
        """See that the kernel watches all *folders*, and tell if it does not.

        watchdog passes over a folder for which no watch is left, and says nothing.
        """
        if lost := self._lost(folders):
            # A new folder has its watch a moment after it is there.
            time.sleep(SETTLE_SECONDS)
            lost = self._lost(lost)
        if lost:
            # There may be watches again.
            for root in self._held:
                self._notices.forget(self._held[root])
                self.missing.append(root)
            self._held.clear()
            self.watch()
            lost = self._lost(lost)
        self.incomplete = bool(lost)
        if lost:
            sentence = f"{len(lost)} folders are not watched, {lost[0]} for one: "
            self._troubles.tell(LOST, sentence + NO_MORE_WATCHES, self._rule.name)
        else:
            self._troubles.clear(LOST)

    def _lost(self, folders: Sequence[str]) -> list[str]:
        """Those of *folders* that should be watched and are not."""
        known = _watched_by_the_kernel()
        # Some file systems show the kernel's notices other numbers than us.
        shown = [path for path in self.folders if _number(path) in known]
        return [
            path
            for path in folders
            if (number := _number(path)) and number not in known
            if any(below(root, path) for root in shown)
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


def _number(path: str) -> int:
    """The number of the folder at *path* in its file system; 0 when it is gone."""
    try:
        return os.stat(path).st_ino  # noqa: PTH116
    except OSError:
        return 0


def _reason(error: OSError) -> str:
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
