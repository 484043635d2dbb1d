"""What the mount table says about the file system that a path is on."""

import os
import re
from pathlib import Path

IN_MEMORY = frozenset({"ramfs", "tmpfs"})
MOUNTS = Path("/proc/self/mountinfo")


def forbids_programs(path: Path) -> bool:
    """Tell whether the file system of *path* is mounted with noexec."""
    try:
        return bool(os.statvfs(path).f_flag & os.ST_NOEXEC)
    except OSError:
        return False


def is_in_memory(path: Path) -> bool:
    """Tell whether a reboot loses what is at *path*, whose links are resolved."""
    try:
        return file_system_of(path, MOUNTS.read_text("utf-8")) in IN_MEMORY
    except OSError:
        return False


def file_system_of(path: Path, mountinfo: str) -> str:
    """Return the type of the file system of *path*; see proc_pid_mountinfo(5)."""
    found, longest = "", -1
    for line in mountinfo.splitlines():
        before, _, after = line.partition(" - ")
        point = Path(_unescaped(before.split(" ")[4]))
        # Of two mounts at one point the later one is seen.
        if path.is_relative_to(point) and len(point.parts) >= longest:
            found, longest = after.split(" ")[0], len(point.parts)
    return found


def _unescaped(text: str) -> str:
    return re.sub(r"\\([0-7]{3})", lambda octal: chr(int(octal[1], 8)), text)
