"""Reads the watched files: every path below a root, and what a file is now."""

import hashlib
import os
import stat
import time
from collections.abc import Iterator

from twistlock_console.protocol import WatchedPath
from twistlock_defender.common.rights import group_name, user_name
from twistlock_defender.files.rules import FileRecord, Watched, covers

MAX_HASHED_BYTES = 256 * 1024 * 1024
CHUNK_BYTES = 1024 * 1024
FRESH_NS = 50_000_000


def walk(
    root: WatchedPath, watched: Watched, unread: list[str], visited: list[str]
) -> Iterator[str]:
    """Yield every path that *root* covers and *watched* does not exclude.

    Folders that we may not read are added to *unread*, others to *looked_into*.
    """
    folders = [root.path]
    if watched.excludes(root.path):
        return
    yield root.path
    while folders:
        folder = folders.pop()
        entries = _list_folder(folder, unread)
        if entries is None:
            continue
        visited.append(folder)
        for entry in entries:
            if watched.excludes(entry.path) or not covers(root, entry.path):
                continue
            yield entry.path
            if root.recursive and entry.is_dir(follow_symlinks=False):
                folders.append(entry.path)


def _list_folder(folder: str, unread: list[str]) -> list["os.DirEntry[str]"] | None:
    """Return what is in *folder*; None when it is none, or may not be read."""
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except PermissionError:
        unread.append(folder)
        return None
    except OSError:
        return None


def read_stamp(path: str) -> str | None:
    """Return the stamp of *path*; None where nothing is. Raises OSError."""
    try:
        return _stamp(os.lstat(path))
    except (FileNotFoundError, NotADirectoryError):
        return None


def read_record(path: str) -> FileRecord | None:
    """Return what *path* is now; None where nothing is. Raises OSError."""
    try:
        status = os.lstat(path)
        content = _hash(path, status)
    except (FileNotFoundError, NotADirectoryError):
        return None
    owner = f"{user_name(status.st_uid)}:{group_name(status.st_gid)}"
    # Within one tick of the kernel's clock it could change again unnoticed.
    fresh = abs(time.time_ns() - status.st_ctime_ns) < FRESH_NS
    stamp = "" if fresh else _stamp(status)
    return FileRecord(content, f"{stat.S_IMODE(status.st_mode):04o}", owner, stamp)


def _stamp(status: os.stat_result) -> str:
    rights = f"{status.st_mode:o}.{status.st_uid}.{status.st_gid}.{status.st_ino}"
    if stat.S_ISDIR(status.st_mode):
        return rights  # what is in a folder has records of its own
    return f"{rights}.{status.st_size}.{status.st_mtime_ns}.{status.st_ctime_ns}"


def _hash(path: str, status: os.stat_result) -> str:
    if stat.S_ISLNK(status.st_mode):
        target = os.fsencode(os.readlink(path))  # noqa: PTH115
        return hashlib.sha256(target).hexdigest()
    if not stat.S_ISREG(status.st_mode) or status.st_size > MAX_HASHED_BYTES:
        return ""
    found = hashlib.sha256()
    # O_NOFOLLOW, O_NONBLOCK: it may have become something else since.
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    with os.fdopen(os.open(path, flags), "rb", buffering=0) as file:
        while piece := file.read(CHUNK_BYTES):
            found.update(piece)
    return found.hexdigest()
