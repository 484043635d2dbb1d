"""Checks of the rights of files everywhere."""

import os
import stat
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from twistlock_defender.checks.check import Check, at_most

FOLDERS = ("boot", "etc", "opt", "root", "usr", "var")
MOST_FILES = 200_000
REST_SECONDS = 0.001
SHOWN = 5


def _walk(root: Path) -> Iterator[tuple[str, os.stat_result]]:
    """Files and folders below FOLDERS, on the root's own file system."""
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
    return _told(
        path for path, status in islice(_walk(root), MOST_FILES) if _open(status)
    )


def _open(status: os.stat_result) -> bool:
    """Whether everybody may change it, or take away what others have in it."""
    if not status.st_mode & stat.S_IWOTH:
        return False
    sticky = bool(status.st_mode & stat.S_ISVTX)
    folder = stat.S_ISDIR(status.st_mode)
    return stat.S_ISREG(status.st_mode) or (folder and not sticky)


def _told(paths: Iterator[str]) -> str | None:
    found = list(islice(paths, 1000))
    if not found:
        return None
    more = f" and {len(found) - SHOWN} more" if len(found) > SHOWN else ""
    return f"everybody may write {', '.join(found[:SHOWN])}{more}"


CHECKS = (
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
