"""Read the state of watched files, and list the paths below a root."""

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

    Add folders that the Defender may not read to *unread*, others to *visited*.
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
    """Return the entries of *folder*; None if it is not a readable folder."""
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except PermissionError:
        unread.append(folder)
        return None
    except OSError:
        return None


def read_stamp(path: str) -> str | None:
    """Return the stamp of *path*; None if it does not exist. Raises OSError."""
    try:
        return _stamp(os.lstat(path))
    except (FileNotFoundError, NotADirectoryError):
        return None


def read_record(path: str) -> FileRecord | None:
    """Return the record of *path*; None if it does not exist. Raises OSError."""
    try:
        status = os.lstat(path)
        content = _hash(path, status)
    except (FileNotFoundError, NotADirectoryError):
        return None
    owner = f"{user_name(status.st_uid)}:{group_name(status.st_gid)}"
    # Within one tick of the kernel's clock, another change would keep the stamp.
    fresh = abs(time.time_ns() - status.st_ctime_ns) < FRESH_NS
    stamp = "" if fresh else _stamp(status)
    return FileRecord(content, f"{stat.S_IMODE(status.st_mode):04o}", owner, stamp)


def _stamp(status: os.stat_result) -> str:
    rights = f"{status.st_mode:o}.{status.st_uid}.{status.st_gid}.{status.st_ino}"
    if stat.S_ISDIR(status.st_mode):
        return rights  # the entries of a folder have records of their own
    return f"{rights}.{status.st_size}.{status.st_mtime_ns}.{status.st_ctime_ns}"


def _hash(path: str, status: os.stat_result) -> str:
    if stat.S_ISLNK(status.st_mode):
        target = os.fsencode(os.readlink(path))  # noqa: PTH115
        return hashlib.sha256(target).hexdigest()
    if not stat.S_ISREG(status.st_mode) or status.st_size > MAX_HASHED_BYTES:
        return ""
    found = hashlib.sha256()
    # O_NOFOLLOW, O_NONBLOCK: the path may be another kind of file by now.
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    with os.fdopen(os.open(path, flags), "rb", buffering=0) as file:
        while piece := file.read(CHUNK_BYTES):
            found.update(piece)
    return found.hexdigest()
