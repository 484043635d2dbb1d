"""Rotate log files by size."""

from pathlib import Path

MAX_LOG_BYTES = 100_000_000
KEPT_FILES = 10


def rotate_files(log: Path, most_bytes: int = MAX_LOG_BYTES) -> bool:
    """Rename *log* to log.1, log.1 to log.2, …; the oldest of KEPT_FILES goes.

    Only if it has at least *most_bytes*; says whether. Raises OSError.
    """
    if file_size(log) < most_bytes:
        return False
    for number in reversed(range(1, KEPT_FILES)):
        older = Path(f"{log}.{number}")
        if older.exists():
            older.replace(f"{log}.{number + 1}")
    log.replace(f"{log}.1")
    return True


def file_size(path: Path) -> int:
    """Return the size of *path* in bytes; 0 if it cannot be read."""
    try:
        return path.stat().st_size
    except OSError:
        return 0
