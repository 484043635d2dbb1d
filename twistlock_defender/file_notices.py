"""The kernel's notices of changes below watched paths, through watchdog."""

import errno
import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

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
from twistlock_defender.troubles import Troubles

# Not that a file was opened or read: we do so ourselves.
KINDS: list[type[FileSystemEvent]] = [
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


class Notices(FileSystemEventHandler):
    """Calls *changed*, on a thread of its own, with each path that may have changed."""

    def __init__(self, changed: Callable[[str], None]) -> None:
        self._changed = changed
        self._observer: BaseObserver | None = None
        self._refusal: OSError | None = None
        try:
            self._observer = InotifyObserver()
            self._observer.start()
        except OSError as error:
            # Nothing can be watched then; everything is still compared.
            self._refusal = error

    def close(self) -> None:
        """Watch nothing any more."""
        if self._observer and self._observer.is_alive():
            self._observer.stop()
            self._observer.join()

    def watch(self, root: WatchedPath) -> "Held":
        """Watch *root*. Raises OSError where the kernel does not let us."""
        if self._refusal or self._observer is None:
            raise self._refusal or OSError("no observer")
        path, recursive = root.path, root.recursive
        os.lstat(path)
        if not os.path.isdir(path):  # noqa: PTH112
            # Its folder: a file that is replaced is another file to the kernel.
            path, recursive = os.path.dirname(path), False  # noqa: PTH120
        # watchdog passes over a folder that it may not read, and says nothing.
        os.scandir(path).close()
        identity = _identity(path)
        watch = self._observer.schedule(
            self, path, recursive=recursive, event_filter=KINDS
        )
        return Held(path, identity, watch)

    def stands(self, held: "Held") -> bool:
        """Whether the folder is still there and watched: one in its place is another.

        It may have the number of the one before; but then that one's thread has ended.
        """
        try:
            same = _identity(held.path) == held.identity
        except OSError:
            return False
        emitters = self._observer.emitters if self._observer else set()
        watched = any(e.watch == held.watch and e.is_alive() for e in emitters)
        return same and watched

    def forget(self, held: "Held") -> None:
        """Watch it no more."""
        if self._observer:
            with suppress(KeyError):
                self._observer.unschedule(held.watch)

    def on_any_event(self, event: FileSystemEvent) -> None:
        """Pass the paths on."""
        self._changed(os.fsdecode(event.src_path))
        if event.dest_path:
            self._changed(os.fsdecode(event.dest_path))


@dataclass(frozen=True, slots=True)
class Held:
    """A folder that is watched: the one that had the *path* at that time."""

    path: str
    identity: tuple[int, int]
    watch: ObservedWatch


class WatchedRoots:
    """The roots of *rule*, as far as the kernel lets us watch them; it says if not."""

    def __init__(self, rule: HostRule, notices: Notices, troubles: Troubles) -> None:
        self._rule = rule
        self._notices = notices
        self._troubles = troubles
        self.missing = list(rule.files.paths)
        self._held: dict[WatchedPath, Held] = {}

    def close(self) -> None:
        """Clear the troubles told."""
        for root in self.missing:
            self._troubles.clear(f"watching {root.path}")

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


def _identity(path: str) -> tuple[int, int]:
    found = os.stat(path)  # noqa: PTH116
    return found.st_dev, found.st_ino


def _reason(error: OSError) -> str:
    match error.errno:
        case errno.ENOENT | errno.ENOTDIR:
            return "it is not there; create it or take it out of the rule"
        case errno.EACCES | errno.EPERM:
            return "not permitted; run the Defender as root"
        case errno.ENOSPC:
            return (
                "too many inotify watches; raise fs.inotify.max_user_watches "
                "(it is compared every 10 s instead)"
            )
        case errno.EMFILE:
            return (
                "too many inotify instances; raise fs.inotify.max_user_instances "
                "(it is compared every 10 s instead)"
            )
        case _:
            return error.strerror or str(error)
