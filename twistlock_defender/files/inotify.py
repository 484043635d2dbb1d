"""The kernel's notices of changes below watched paths, through watchdog."""

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

from twistlock_console.protocol import WatchedPath

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
        """Watch *root*. Raises OSError where the kernel does not let us.

        ValueError where *root* cannot be a path at all.
        """
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
        # With a slash at its end the kernel follows a link to a folder.
        watch = self._observer.schedule(
            self, f"{path.rstrip('/')}/", recursive=recursive, event_filter=KINDS
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
        for path in (event.src_path, event.dest_path):
            if path:
                self._changed(os.fsdecode(path).rstrip("/") or "/")


@dataclass(frozen=True, slots=True)
class Held:
    """A folder that is watched: the one that had the *path* at that time."""

    path: str
    identity: tuple[int, int]
    watch: ObservedWatch


def _identity(path: str) -> tuple[int, int]:
    found = os.stat(path)  # noqa: PTH116
    return found.st_dev, found.st_ino
