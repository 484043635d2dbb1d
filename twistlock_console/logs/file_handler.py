"""Writes the log's file, and goes on whatever the disk does.

A line that has no room is left out; who logs it, and what writes it, never fail.
"""

import logging
import sys
from contextlib import suppress
from logging.handlers import WatchedFileHandler
from pathlib import Path

from twistlock_console.common.clock import SECOND, boottime_ns

log = logging.getLogger(__name__)
#: On a full disk each line fails; that is told no more often.
TOLD_EVERY = 60 * SECOND


class LogWriter(WatchedFileHandler):
    """Appends to a file, and to the one that takes its place when that is rotated."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, encoding="utf-8")
        self._quiet_until = 0

    def emit(self, record: logging.LogRecord) -> None:
        """Write the line; a file that cannot be let go of properly is let go of too.

        Python hands on errors of writing alone, not of leaving the old file and opening
        the new one. Holding on to a deleted file would keep its room on a full disk.
        """
        try:
            super().emit(record)
        except Exception:
            self.close()
            self.handleError(record)

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802
        """Say why lines are left out, in the log itself: standard error may take it.

        That line may fail as well and come back here, where it ends.
        """
        del record
        now = boottime_ns()
        if now < self._quiet_until:
            return
        self._quiet_until = now + TOLD_EVERY
        error = sys.exc_info()[1]
        log.warning("lines are left out of %s: %s", self.baseFilename, error)

    def close(self) -> None:
        """Close the file; what still waits in memory is lost if it has no room."""
        with suppress(OSError):
            super().close()
