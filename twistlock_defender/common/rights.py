"""Return names of users and groups, and the capabilities of this process."""

import grp
import pwd
from enum import IntEnum
from pathlib import Path


class Capability(IntEnum):
    """The capabilities that enforcement needs, by their numbers in the kernel."""

    DAC_READ_SEARCH = 2
    KILL = 5
    SYS_PTRACE = 19
    SYS_ADMIN = 21


def has_capability(capability: Capability) -> bool:
    """Return whether this process has *capability*."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("CapEff:"):
            return bool(int(line.split()[1], 16) >> capability & 1)
    return False


def user_name(uid: int) -> str:
    """Return the name of *uid*, or its number."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def group_name(gid: int) -> str:
    """Return the name of *gid*, or its number."""
    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return str(gid)
