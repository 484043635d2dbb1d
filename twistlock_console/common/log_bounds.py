"""Bound the size of logs: rotate files, and throttle lines about one subject."""

import logging
from pathlib import Path

MAX_LOG_BYTES = 100_000_000
MAX_LOG_FILES = 10
MIN_INTERVAL_S = 60.0
MAX_SUBJECTS = 1000
log = logging.getLogger(__name__)


def rotate_files(log: Path, max_bytes: int = MAX_LOG_BYTES) -> bool:
    """Rename *log* to log.1, log.1 to log.2, …; delete the oldest.

    Return whether the file was rotated: only if it has at least *max_bytes*. Keep
    MAX_LOG_FILES. Raises OSError.
    """
    if file_size(log) < max_bytes:
        return False
    for number in reversed(range(1, MAX_LOG_FILES)):
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


class LimitedLog:
    """Throttles log lines: one per subject and minute; counts the omitted ones."""

    def __init__(self) -> None:
        self._written: dict[str, tuple[float, int]] = {}

    def write(self, subject: str, sentence: str, now: float) -> None:
        """Log *sentence* about *subject* at second *now*, or count it as omitted."""
        since, omitted = self._written.get(subject, (now - MIN_INTERVAL_S, 0))
        if now - since < MIN_INTERVAL_S:
            self._written[subject] = (since, omitted + 1)
            return
        if len(self._written) >= MAX_SUBJECTS:
            self._written.clear()
        self._written[subject] = (now, 0)
        more = (
            f" (and {omitted} more times since the last such line)" if omitted else ""
        )
        log.warning("%s %s%s", subject, sentence, more)
