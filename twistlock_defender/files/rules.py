"""Decide which paths a rule watches, and compare records of files. Pure."""

import re
from dataclasses import dataclass
from fnmatch import translate

from twistlock_console.protocol import FilePart, WatchedPath
from twistlock_console.protocol.findings import Change


@dataclass(frozen=True, slots=True)
class FileRecord:
    """The state of a file, folder or link; *hash* is "" if the content is not hashed.

    `stamp` changes with every change of the file; with an equal stamp, the content is
    not read again.
    """

    hash: str
    mode: str
    owner: str
    stamp: str


class Watched:
    """The paths that *part* watches, without the Defender's folder *own*."""

    def __init__(self, part: FilePart, own: str) -> None:
        # No path contains a NUL; Python raises ValueError for one.
        self.roots = tuple(root for root in part.paths if "\0" not in root.path)
        self._own = own
        globs = [g for glob in part.exclusions for g in (glob, f"{glob}/*")]
        excluded = "|".join(map(translate, globs))
        self._excluded = re.compile(excluded) if globs else None

    def __contains__(self, path: str) -> bool:
        return not self.excludes(path) and any(
            covers(root, path) for root in self.roots
        )

    def excludes(self, path: str) -> bool:
        """Return whether *path*, and so everything below it, is excluded."""
        if is_below(self._own, path):
            return True
        return bool(self._excluded and self._excluded.match(path))


def covers(root: WatchedPath, path: str) -> bool:
    """Return whether *root* includes *path*."""
    if not is_below(root.path, path):
        return False
    start = root.path.rstrip("/")
    return root.recursive or "/" not in path[len(start) + 1 :]


def is_below(folder: str, path: str) -> bool:
    """Return whether *path* is *folder* or below it."""
    start = folder.rstrip("/")
    return path in (start, folder) or path.startswith(f"{start}/")


def find_change(before: FileRecord | None, after: FileRecord | None) -> Change | None:
    """Return the kind of change from *before* to *after*; None for no change.

    A record of None means that the path does not exist.
    """
    if before is None:
        return None if after is None else "created"
    if after is None:
        return "deleted"
    if before.hash != after.hash:
        return "modified"
    if (before.mode, before.owner) != (after.mode, after.owner):
        return "attributes"
    return None
