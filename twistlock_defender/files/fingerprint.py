"""What a file is now: content, mode and owner, by which a change is noticed."""

import grp
import hashlib
import os
import stat
import time

from twistlock_defender.common.proc import user_name
from twistlock_defender.files.rules import Record

LARGEST_HASHED = 256 * 1024 * 1024
PIECE = 1024 * 1024
FRESH_NS = 50_000_000


def stamp_of(path: str) -> str | None:
    """The stamp of *path*; None where nothing is. Raises OSError."""
    try:
        return _stamp(os.lstat(path))
    except (FileNotFoundError, NotADirectoryError):
        return None


def record_of(path: str) -> Record | None:
    """What *path* is now; None where nothing is. Raises OSError."""
    try:
        status = os.lstat(path)
        content = _hash(path, status)
    except (FileNotFoundError, NotADirectoryError):
        return None
    owner = f"{user_name(status.st_uid)}:{_group_name(status.st_gid)}"
    # Within one tick of the kernel's clock it could change again unnoticed.
    fresh = abs(time.time_ns() - status.st_ctime_ns) < FRESH_NS
    stamp = "" if fresh else _stamp(status)
    return Record(content, f"{stat.S_IMODE(status.st_mode):04o}", owner, stamp)


def _stamp(status: os.stat_result) -> str:
    rights = f"{status.st_mode:o}.{status.st_uid}.{status.st_gid}.{status.st_ino}"
    if stat.S_ISDIR(status.st_mode):
        return rights  # what is in a folder has records of its own
    return f"{rights}.{status.st_size}.{status.st_mtime_ns}.{status.st_ctime_ns}"


def _hash(path: str, status: os.stat_result) -> str:
    if stat.S_ISLNK(status.st_mode):
        target = os.fsencode(os.readlink(path))  # noqa: PTH115
        return hashlib.sha256(target).hexdigest()
    if not stat.S_ISREG(status.st_mode) or status.st_size > LARGEST_HASHED:
        return ""
    found = hashlib.sha256()
    # O_NOFOLLOW, O_NONBLOCK: it may have become something else since.
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    with os.fdopen(os.open(path, flags), "rb", buffering=0) as file:
        while piece := file.read(PIECE):
            found.update(piece)
    return found.hexdigest()


def _group_name(gid: int) -> str:
    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return str(gid)
