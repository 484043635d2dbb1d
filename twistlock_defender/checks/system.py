"""Check accounts, rights of files, and settings of the kernel."""

import os
import stat
import time
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path

from twistlock_defender.checks.check import Check, read_text, require_rights

FOLDERS = ("boot", "etc", "opt", "root", "usr", "var")
MAX_FILES = 200_000
PAUSE_S = 0.001
MAX_LISTED = 5


def _read_fields(root: Path, name: str) -> list[list[str]]:
    lines = read_text(root / "etc" / name).splitlines()
    return [line.split(":") for line in lines if line and not line.startswith("#")]


def _check_empty_passwords(root: Path) -> str | None:
    names = [f[0] for f in _read_fields(root, "shadow") if len(f) > 1 and not f[1]]
    return f"no password: {', '.join(names)}; run: passwd -l NAME" if names else None


def _check_other_roots(root: Path) -> str | None:
    names = [f[0] for f in _read_fields(root, "passwd") if len(f) > 2 and f[2] == "0"]
    others = [name for name in names if name != "root"]
    return f"user id 0 is also that of {', '.join(others)}" if others else None


ACCOUNT_CHECKS = (
    Check(
        "passwd-rights",
        "high",
        require_rights("etc/passwd", "etc/group", mode=0o644),
    ),
    Check(
        "shadow-rights",
        "critical",
        require_rights("etc/shadow", "etc/gshadow", mode=0o640),
    ),
    Check(
        "empty-passwords",
        "critical",
        _check_empty_passwords,
    ),
    Check("other-roots", "critical", _check_other_roots),
)


def _walk(root: Path) -> Iterator[tuple[str, os.stat_result]]:
    """Yield files and folders below FOLDERS, on the root's own file system."""
    device = root.stat().st_dev
    folders = [str(root / folder) for folder in FOLDERS]
    while folders:
        time.sleep(PAUSE_S)  # throttle: other programs have priority
        try:
            with os.scandir(folders.pop()) as entries:
                for entry in entries:
                    status = entry.stat(follow_symlinks=False)
                    yield entry.path, status
                    if stat.S_ISDIR(status.st_mode) and status.st_dev == device:
                        folders.append(entry.path)
        except OSError:
            continue


def _check_writable_files(root: Path) -> str | None:
    return _writable_fault(
        path
        for path, status in islice(_walk(root), MAX_FILES)
        if _is_world_writable(status)
    )


def _is_world_writable(status: os.stat_result) -> bool:
    """Return whether every user may change the file or delete files in the folder."""
    if not status.st_mode & stat.S_IWOTH:
        return False
    sticky = bool(status.st_mode & stat.S_ISVTX)
    folder = stat.S_ISDIR(status.st_mode)
    return stat.S_ISREG(status.st_mode) or (folder and not sticky)


def _writable_fault(paths: Iterator[str]) -> str | None:
    found = list(islice(paths, 1000))
    if not found:
        return None
    more = f" and {len(found) - MAX_LISTED} more" if len(found) > MAX_LISTED else ""
    return f"every user may write {', '.join(found[:MAX_LISTED])}{more}"


FILE_CHECKS = (
    Check(
        "writable-files",
        "high",
        _check_writable_files,
    ),
    Check(
        "cron-rights",
        "high",
        require_rights("etc/crontab", mode=0o644),
    ),
)


def _require_value(name: str, wanted: str) -> Callable[[Path], str | None]:
    def find_fault(root: Path) -> str | None:
        value = read_text(root / "proc/sys" / name.replace(".", "/")).strip()
        if value in (wanted, ""):
            return None
        return f"{name} is {value}; run: sysctl -w {name}={wanted}"

    return find_fault


KERNEL_CHECKS = (
    Check(
        "address-randomization",
        "high",
        _require_value("kernel.randomize_va_space", "2"),
    ),
    Check(
        "dumps-of-setuid-programs",
        "medium",
        _require_value("fs.suid_dumpable", "0"),
    ),
    Check(
        "redirects",
        "medium",
        _require_value("net.ipv4.conf.all.accept_redirects", "0"),
    ),
)
