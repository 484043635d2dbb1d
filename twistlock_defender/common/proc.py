"""The host's processes, as /proc shows them."""

import os
import pwd
from pathlib import Path

from twistlock_defender.common.process import Process

KERNEL_THREAD = 0x00200000
PROC = Path("/proc")


def all_pids() -> list[int]:
    """The ids of all processes."""
    return [int(entry) for entry in os.listdir(PROC) if entry.isdecimal()]  # noqa: PTH208  twice as fast, four times a second


def look_at(pid: int) -> Process | None:
    """What *pid* runs now; None for kernel threads and what has ended."""
    try:
        stat = (PROC / str(pid) / "stat").read_bytes()
    except OSError:
        return None
    before, _, after = stat.rpartition(b")")
    fields = after.split()
    if fields[0] in (b"Z", b"X") or int(fields[6]) & KERNEL_THREAD:
        return None
    name = os.fsdecode(before.partition(b"(")[2])
    path = _path(pid)
    called = path or command_of(pid).split(" ")[0]
    return Process(pid, int(fields[19]), path, name, called)


def command_of(pid: int) -> str:
    """The command line of *pid*; empty when it cannot be read."""
    try:
        words = (PROC / str(pid) / "cmdline").read_bytes()
    except OSError:
        return ""
    return os.fsdecode(words.rstrip(b"\0").replace(b"\0", b" "))


def owner_of(pid: int) -> int | None:
    """The number of the user that *pid* runs as."""
    try:
        return (PROC / str(pid)).stat().st_uid
    except OSError:
        return None


def user_name(uid: int) -> str:
    """The name of *uid*, or its number."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def _path(pid: int) -> str:
    try:
        path = os.readlink(PROC / str(pid) / "exe")  # noqa: PTH115  fast, and no Path
    except OSError:
        return ""
    return path.removesuffix(" (deleted)")
