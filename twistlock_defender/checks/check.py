"""Define compliance checks, and functions that several of them use."""

import stat
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from twistlock_console.protocol import CHECKS as TITLES
from twistlock_console.protocol.findings import Severity
from twistlock_defender.common.rights import user_name


@dataclass(frozen=True, slots=True)
class Check:
    """A check; `find_fault` returns what is wrong on the host below a root, or None."""

    id: str
    severity: Severity
    find_fault: Callable[[Path], str | None]

    @property
    def title(self) -> str:
        """Return what the check requires, by its id in the protocol."""
        return TITLES[self.id]


def require_rights(*paths: str, mode: int) -> Callable[[Path], str | None]:
    """Return a check that root owns each of *paths*, with no right beyond *mode*."""

    def find_fault(root: Path) -> str | None:
        faults = [_rights_fault(root / path, mode) for path in paths]
        return "; ".join(filter(None, faults)) or None

    return find_fault


def read_text(path: Path) -> str:
    """Return the text of the file; "" if there is none."""
    try:
        return path.read_text(errors="replace")
    except (FileNotFoundError, NotADirectoryError):
        return ""


def _rights_fault(path: Path, mode: int) -> str | None:
    try:
        status = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    has = stat.S_IMODE(status.st_mode)
    if status.st_uid != 0:
        return f"{path} belongs to {user_name(status.st_uid)}, not to root"
    if has & ~mode:
        return f"{path} has mode {has:04o}; run: chmod {mode:04o} {path}"
    return None
