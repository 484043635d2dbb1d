"""A process of the host as a value."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Process:
    """One program in one process; *pid* and *started* together are never reused.

    *path* is empty where we may not see it; *name* is what the kernel calls it and
    *called* what it was called by.
    """

    pid: int
    started: int
    path: str
    name: str
    called: str
