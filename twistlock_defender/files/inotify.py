"""Watch the roots of a rule with inotify, and report what the kernel cannot watch."""

import errno
import os
import re
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from watchdog.events import (
    DirAttribEvent,
    DirCreatedEvent,
    DirDeletedEvent,
    DirModifiedEvent,
    DirMovedEvent,
    FileAttribEvent,
    FileClosedEvent,
    FileCreatedEvent,
    FileDeletedEvent,
    FileModifiedEvent,
    FileMovedEvent,
    FileSystemEvent,
    FileSystemEventHandler,
)
from watchdog.observers.api import BaseObserver, ObservedWatch
from watchdog.observers.inotify import InotifyObserver

from twistlock_console.protocol import HostRule, WatchedPath
from twistlock_defender.common.clock import boottime
from twistlock_defender.common.problems import Problems
from twistlock_defender.files.rules import is_below

INODE = re.compile(r"^inotify .*\bino:([0-9a-f]+)", re.MULTILINE)
SETTLE_S = 0.5
RETRY_INTERVAL_S = 600.0
NO_MORE_WATCHES = (
    "too many inotify watches; raise fs.inotify.max_user_watches "
    "(it is compared every 10 s instead)"
)
# Without the events of opening and reading, which the Defender itself causes.
EVENT_TYPES: list[type[FileSystemEvent]] = [
    DirAttribEvent,
    DirCreatedEvent,
    DirDeletedEvent,
    DirModifiedEvent,
    DirMovedEvent,
    FileAttribEvent,
    FileClosedEvent,
    FileCreatedEvent,
    FileDeletedEvent,
    FileModifiedEvent,
    FileMovedEvent,
]


class InotifyWatcher(FileSystemEventHandler):
    """Calls *on_change*, on a thread of its own, with paths that may have changed."""

    def __init__(self, on_change: Callable[[str], None]) -> None:
        self._on_change = on_change
        self._observer: BaseObserver | None = None
        self._refusal: OSError | None = None
        try:
            self._observer = InotifyObserver()
            self._observer.start()
        except OSError as error:
            # Nothing can be watched; scans still compare everything.
            self._refusal = error

    def close(self) -> None:
        """Stop watching."""
        if self._observer and self._observer.is_alive():
            self._observer.stop()
            self._observer.join()

    def watch(self, root: WatchedPath) -> "WatchedFolder":
        """Watch *root*.

        Raises:
            OSError: the kernel refuses.
            ValueError: *root* is not a valid path.

        """
        if self._refusal or self._observer is None:
            raise self._refusal or OSError("no observer")
        path, recursive = root.path, root.recursive
        os.lstat(path)
        if not os.path.isdir(path):  # noqa: PTH112
            # Watch its folder: to the kernel, a replaced file is another file.
            path, recursive = os.path.dirname(path), False  # noqa: PTH120
        # watchdog ignores a folder that it may not read, without an error.
        os.scandir(path).close()
        identity = _identity(path)
        # With a slash at its end the kernel follows a link to a folder.
        watch = self._observer.schedule(
            self, f"{path.rstrip('/')}/", recursive=recursive, event_filter=EVENT_TYPES
        )
        return WatchedFolder(path, identity, watch)

    def is_watched(self, folder: "WatchedFolder") -> bool:
        """Return whether the folder still exists and is watched.

        A new folder may reuse its inode number, but then the emitter thread has ended.
        """
        try:
            same = _identity(folder.path) == folder.identity
        except OSError:
            return False
        emitters = self._observer.emitters if self._observer else set()
        watched = any(e.watch == folder.watch and e.is_alive() for e in emitters)
        return same and watched

    def unwatch(self, folder: "WatchedFolder") -> None:
        """Stop watching *folder*."""
        if self._observer:
            with suppress(KeyError):
                self._observer.unschedule(folder.watch)

    def on_any_event(self, event: FileSystemEvent) -> None:
        """Pass on the paths of *event*; watchdog calls this."""
        for path in (event.src_path, event.dest_path):
            if path:
                self._on_change(os.fsdecode(path).rstrip("/") or "/")


@dataclass(frozen=True, slots=True)
class WatchedFolder:
    """A watched folder, with its device and inode number as *identity*."""

    path: str
    identity: tuple[int, int]
    watch: ObservedWatch


def _identity(path: str) -> tuple[int, int]:
    found = os.stat(path)  # noqa: PTH116
    return found.st_dev, found.st_ino


class WatchedRoots:
    """Watches the roots of *rule*; reports roots that cannot be watched as problems."""

    def __init__(
        self, rule: HostRule, watcher: InotifyWatcher, problems: Problems
    ) -> None:
        self._rule = rule
        self._watcher = watcher
        self._problems = problems
        self.unwatched_roots = list(rule.files.paths)
        self.incomplete = False
        self._retry_at = 0.0
        self._watched: dict[WatchedPath, WatchedFolder] = {}

    @property
    def folders(self) -> list[str]:
        """Return the watched folders; for a file, its folder."""
        return [folder.path for folder in self._watched.values()]

    def close(self) -> None:
        """Clear the problems that were reported."""
        for root in self.unwatched_roots:
            self._problems.clear(f"watching {root.path}")
        for root in self._rule.files.paths:
            self._problems.clear(f"below {root.path}")

    def watch(self) -> None:
        """Watch the roots that are not, or no longer, watched."""
        for root, folder in list(self._watched.items()):
            if not self._watcher.is_watched(folder):
                self._watcher.unwatch(self._watched.pop(root))
                self.unwatched_roots.append(root)
        for root in list(self.unwatched_roots):
            topic = f"watching {root.path}"
            try:
                self._watched[root] = self._watcher.watch(root)
            except (OSError, ValueError) as error:
                sentence = f"{root.path} cannot be watched: {_describe_refusal(error)}"
                self._problems.add(topic, sentence, self._rule.name)
            else:
                self.unwatched_roots.remove(root)
                self._problems.clear(topic)

    def check(self, folders: Sequence[str]) -> None:
        """Check that the kernel watches all *folders*; report a problem if not.

        watchdog ignores a folder for which no inotify watch is left, without an error.
        """
        if unwatched := _find_unwatched(folders):
            # A new folder gets its watch a moment after its creation.
            time.sleep(SETTLE_S)
            unwatched = _find_unwatched(folders)
        if unwatched and boottime() >= self._retry_at:
            # Watches may be available again.
            self._retry_at = boottime() + RETRY_INTERVAL_S
            self._rewatch(unwatched)
            unwatched = _find_unwatched(folders)
        self.incomplete = bool(unwatched)
        for root in self._rule.files.paths:
            topic = f"below {root.path}"
            if any(is_below(root.path, path) for path in unwatched):
                sentence = f"folders below {root.path} are not watched: "
                self._problems.add(topic, sentence + NO_MORE_WATCHES, self._rule.name)
            else:
                self._problems.clear(topic)

    def _rewatch(self, unwatched: Sequence[str]) -> None:
        for root, folder in list(self._watched.items()):
            if any(is_below(folder.path, path) for path in unwatched):
                self._watcher.unwatch(self._watched.pop(root))
                self.unwatched_roots.append(root)
        self.watch()


def _find_unwatched(folders: Sequence[str]) -> list[str]:
    """Return the *folders* that the kernel does not watch.

    Some file systems have other inode numbers in inotify: a device on which no folder
    seems to be watched is ignored.
    """
    known = _kernel_watched_inodes()
    found = {path: at for path in folders if (at := _read_inode(path))}
    comparable = {device for device, number in found.values() if number in known}
    return [
        path
        for path, (device, number) in found.items()
        if device in comparable and number not in known
    ]


def _kernel_watched_inodes() -> set[int]:
    """Return the inode numbers of all inotify watches of this process.

    Source: man 5 proc, /proc/pid/fdinfo.
    """
    found: set[int] = set()
    for entry in os.scandir("/proc/self/fd"):
        with suppress(OSError):
            if os.readlink(entry.path) == "anon_inode:inotify":  # noqa: PTH115
                info = Path("/proc/self/fdinfo", entry.name).read_text()
                found |= {int(number, 16) for number in INODE.findall(info)}
    return found


def _read_inode(path: str) -> tuple[int, int] | None:
    """Return device and inode number of the folder at *path*; None if missing."""
    try:
        found = os.stat(path)  # noqa: PTH116
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _describe_refusal(error: OSError | ValueError) -> str:
    if isinstance(error, ValueError):
        return f"it is not a valid path ({error}); correct it in the rule"
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
