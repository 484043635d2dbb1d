"""What the kernel lets this process do to others."""

from enum import IntEnum
from pathlib import Path


class Capability(IntEnum):
    """Those that enforcement needs, by their numbers in the kernel."""

    DAC_READ_SEARCH = 2
    KILL = 5
    SYS_PTRACE = 19
    SYS_ADMIN = 21


def may(capability: Capability) -> bool:
    """Whether this process has *capability*."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("CapEff:"):
            return bool(int(line.split()[1], 16) >> capability & 1)
    return False
