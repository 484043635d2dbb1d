"""Checks of the accounts, the rights of files, and the settings of the kernel."""

import os
import stat
import time
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path

from twistlock_defender.checks.check import Check, at_most, text_of

FOLDERS = ("boot", "etc", "opt", "root", "usr", "var")
MOST_FILES = 200_000
REST_SECONDS = 0.001
SHOWN = 5


def _fields(root: Path, name: str) -> list[list[str]]:
    lines = text_of(root / "etc" / name).splitlines()
    return [line.split(":") for line in lines if line and not line.startswith("#")]


def _empty_passwords(root: Path) -> str | None:
    names = [f[0] for f in _fields(root, "shadow") if len(f) > 1 and not f[1]]
    return f"no password: {', '.join(names)}; run: passwd -l NAME" if names else None


def _other_roots(root: Path) -> str | None:
    names = [f[0] for f in _fields(root, "passwd") if len(f) > 2 and f[2] == "0"]
    others = [name for name in names if name != "root"]
    return f"user id 0 is also that of {', '.join(others)}" if others else None


ACCOUNT_CHECKS = (
    Check(
        "passwd-rights",
        "high",
        at_most("etc/passwd", "etc/group", mode=0o644),
    ),
    Check(
        "shadow-rights",
        "critical",
        at_most("etc/shadow", "etc/gshadow", mode=0o640),
    ),
    Check(
        "empty-passwords",
        "critical",
        _empty_passwords,
    ),
    Check("other-roots", "critical", _other_roots),
)


def _walk(root: Path) -> Iterator[tuple[str, os.stat_result]]:
    """Yield files and folders below FOLDERS, on the root's own file system."""
    device = root.stat().st_dev
    folders = [str(root / folder) for folder in FOLDERS]
    while folders:
        time.sleep(REST_SECONDS)  # it is not urgent, and others have work to do
        try:
            with os.scandir(folders.pop()) as entries:
                for entry in entries:
                    status = entry.stat(follow_symlinks=False)
                    yield entry.path, status
                    if stat.S_ISDIR(status.st_mode) and status.st_dev == device:
                        folders.append(entry.path)
        except OSError:
            continue


def _writable(root: Path) -> str | None:
    return _fault_of(
        path for path, status in islice(_walk(root), MOST_FILES) if _open(status)
    )


def _open(status: os.stat_result) -> bool:
    """Return whether everybody may change it, or delete what others have in it."""
    if not status.st_mode & stat.S_IWOTH:
        return False
    sticky = bool(status.st_mode & stat.S_ISVTX)
    folder = stat.S_ISDIR(status.st_mode)
    return stat.S_ISREG(status.st_mode) or (folder and not sticky)


def _fault_of(paths: Iterator[str]) -> str | None:
    found = list(islice(paths, 1000))
    if not found:
        return None
    more = f" and {len(found) - SHOWN} more" if len(found) > SHOWN else ""
    return f"everybody may write {', '.join(found[:SHOWN])}{more}"


FILE_CHECKS = (
    Check(
        "writable-files",
        "high",
        _writable,
    ),
    Check(
        "cron-rights",
        "high",
        at_most("etc/crontab", mode=0o644),
    ),
)


def _is(name: str, wanted: str) -> Callable[[Path], str | None]:
    def fault(root: Path) -> str | None:
        value = text_of(root / "proc/sys" / name.replace(".", "/")).strip()
        if value in (wanted, ""):
            return None
        return f"{name} is {value}; run: sysctl -w {name}={wanted}"

    return fault


KERNEL_CHECKS = (
    Check(
        "address-randomization",
        "high",
        _is("kernel.randomize_va_space", "2"),
    ),
    Check(
        "dumps-of-setuid-programs",
        "medium",
        _is("fs.suid_dumpable", "0"),
    ),
    Check(
        "redirects",
        "medium",
        _is("net.ipv4.conf.all.accept_redirects", "0"),
    ),
)
