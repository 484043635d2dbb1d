"""Decide which processes a rule denies. Pure."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import translate

from twistlock_console.protocol import ProcessPart


@dataclass(frozen=True, slots=True)
class Process:
    """One program in one process; *pid* and *started* together are unique.

    *path* is "" if the Defender may not read it. *name* is the name in the kernel,
    *invoked_as* the path or first argument that the program was started with.
    """

    pid: int
    started: int
    path: str
    name: str
    invoked_as: str


class Denied:
    """The processes that *part* denies: by name, or by path where a glob has a /."""

    def __init__(self, part: ProcessPart) -> None:
        self._paths = _combine([glob for glob in part.denied if "/" in glob])
        self._names = _combine([glob for glob in part.denied if "/" not in glob])

    def __bool__(self) -> bool:
        return bool(self._paths or self._names)

    def __contains__(self, process: Process) -> bool:
        invoked_as = process.invoked_as
        if self._paths and self._paths.match(invoked_as):
            return True
        names = (invoked_as.rpartition("/")[2], process.name)
        return bool(self._names and any(map(self._names.match, names)))


def _combine(globs: Sequence[str]) -> re.Pattern[str] | None:
    """Combine all *globs* into one pattern, which matches as fast as a single one."""
    return re.compile("|".join(map(translate, globs))) if globs else None
