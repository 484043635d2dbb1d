"""The log: one line a record, for programs or for people, here and in a file.

Every record tells its node and epoch and, within a request, the request and its user.
A line that has no room on the disk is left out; who logs it, and what writes it, never
fail.
"""

import json
import logging
import os
import queue
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from datetime import UTC, datetime
from logging.handlers import QueueHandler, QueueListener, WatchedFileHandler
from pathlib import Path

from flask import g, has_request_context

from twistlock_console.common.clock import SECOND, boottime_ns
from twistlock_console.common.log_bounds import rotate_files
from twistlock_console.common.redaction import redact_text
from twistlock_console.settings import Folders, LogFormat, Settings

#: On a full disk each line fails; that is logged no more often.
REPORT_INTERVAL_NS = 60 * SECOND
FILE = "console.log"
#: What waits for a disk that stands still; more is left out of the file.
MAX_QUEUED_RECORDS = 10_000
MAX_FILE_BYTES = 20_000_000
QUIET_LOGGERS = {"pymongo": logging.ERROR, "urllib3": logging.ERROR}
CONTEXT_FIELDS = ("node", "epoch", "request", "user")
#: Ends of lines, and what shows a line in another order than it has.
_CONTROL = re.compile(
    r"[\x00-\x08\x0a-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069]"
)
log = logging.getLogger(__name__)


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
        """Return why lines are left out, in the log itself: standard error may take it.

        That line may fail as well and come back here, where it ends.
        """
        del record
        now = boottime_ns()
        if now < self._quiet_until:
            return
        self._quiet_until = now + REPORT_INTERVAL_NS
        error = sys.exc_info()[1]
        log.warning("lines are left out of %s: %s", self.baseFilename, error)

    def close(self) -> None:
        """Close the file; what still waits in memory is lost if it has no room."""
        with suppress(OSError):
            super().close()


class LogContext(logging.Filter):
    """Adds to each record its context: node, epoch, request, user."""

    def __init__(self) -> None:
        super().__init__()
        self.node = ""
        self.epoch: Callable[[], int] = lambda: 0

    def filter(self, record: logging.LogRecord) -> bool:
        """Add them; no record is left out."""
        record.node = self.node
        record.epoch = self.epoch()
        record.request = record.user = ""
        if has_request_context():
            record.request = g.get("request_id", "")
            account = g.get("account")
            record.user = account.username if account else ""
        return True


LOG_CONTEXT = LogContext()
"""The context of the records of this process."""


class JsonLines(logging.Formatter):
    """A record as one JSON object; what it does not have is left out."""

    def format(self, record: logging.LogRecord) -> str:
        """Write the record as a line."""
        fields: dict[str, object] = {
            "time": _time(record),
            "level": record.levelname,
            "logger": record.name,
            "message": redact_text(record.getMessage()),
        }
        fields.update({part: getattr(record, part, "") for part in CONTEXT_FIELDS})
        if record.exc_info:
            fields["error"] = redact_text(self.formatException(record.exc_info))
        return json.dumps({name: value for name, value in fields.items() if value})


class PlainLines(logging.Formatter):
    """A record as people read it; no other line can be forged within it."""

    def format(self, record: logging.LogRecord) -> str:
        """Write the record as a line, and below it the traceback if there is one."""
        parts = [
            f"{part}={value}"
            for part in CONTEXT_FIELDS
            if (value := _part(record, part))
        ]
        words = [_time(record), record.levelname, f"{record.name}:"]
        text = " ".join([*words, redact_text(record.getMessage()), *parts])
        line = _CONTROL.sub(lambda found: repr(found[0])[1:-1], text)
        if record.exc_info:
            line += "\n" + redact_text(self.formatException(record.exc_info))
        return line


FORMATS = {LogFormat.JSON: JsonLines, LogFormat.HUMAN: PlainLines}


def configure_logging(level: str) -> None:
    """Log in plain words on standard error, which systemd or the caller keeps."""
    logging.getLogger().setLevel(level.upper())
    for name, quiet in QUIET_LOGGERS.items():
        logging.getLogger(name).setLevel(quiet)
    _install_handlers(PlainLines(), logging.StreamHandler(sys.stderr))


@contextmanager
def log_as_node(settings: Settings) -> Iterator[None]:
    """Log as a node does, on standard error and to its file.

    A thread writes the file: a disk that hangs must not keep the node from closing
    the ports.
    """
    waiting: queue.Queue[logging.LogRecord] = queue.Queue(MAX_QUEUED_RECORDS)
    LOG_CONTEXT.node = settings.node_address
    with closing(LogWriter(log_file(settings.folders))) as writer:
        listener = QueueListener(waiting, writer)
        listener.start()
        form = FORMATS[settings.log_format]()
        _install_handlers(
            form, *_stderr_handlers(settings), _DroppingQueueHandler(waiting)
        )
        try:
            yield
        finally:
            # Full: the disk stands still, and nothing can be said to the thread.
            with suppress(queue.Full):
                listener.stop()


def log_as_server(settings: Settings, epoch: Callable[[], int]) -> None:
    """Log as a service server does: the same without a thread, for it may fork."""
    LOG_CONTEXT.node = settings.node_address
    LOG_CONTEXT.epoch = epoch
    logging.getLogger().setLevel(logging.INFO)
    handlers: list[logging.Handler] = [*_stderr_handlers(settings)]
    if settings.folders.log.is_dir():
        handlers.append(LogWriter(log_file(settings.folders)))
    _install_handlers(FORMATS[settings.log_format](), *handlers)


def rotate_log(folders: Folders) -> None:
    """Begin a new file when this one is large; every process follows by itself."""
    rotate_files(log_file(folders), MAX_FILE_BYTES)


def log_file(folders: Folders) -> Path:
    """Return where a node keeps what it has logged."""
    return folders.log / FILE


class _DroppingQueueHandler(QueueHandler):
    """Puts a finished line into the queue; drops it when the queue is full."""

    def prepare(self, record: logging.LogRecord) -> logging.LogRecord:
        """Write the line on the thread that knows the request."""
        return logging.makeLogRecord({"msg": self.format(record)})

    def enqueue(self, record: logging.LogRecord) -> None:
        """Never wait."""
        try:
            self.queue.put_nowait(record)
        except queue.Full:
            return


def _stderr_handlers(settings: Settings) -> list[logging.Handler]:
    """None where standard error is that file already: each line shall be there once."""
    try:
        there = log_file(settings.folders).stat()
        if os.path.samestat(os.fstat(sys.stderr.fileno()), there):
            return []
    except (OSError, ValueError):
        log.debug("standard error is no file")
    return [logging.StreamHandler(sys.stderr)]


def _install_handlers(form: logging.Formatter, *handlers: logging.Handler) -> None:
    root = logging.getLogger()
    for old in root.handlers[:]:
        root.removeHandler(old)
    for handler in handlers:
        handler.setFormatter(form)
        handler.addFilter(LOG_CONTEXT)
        root.addHandler(handler)


def _time(record: logging.LogRecord) -> str:
    time = datetime.fromtimestamp(record.created, UTC)
    return time.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _part(record: logging.LogRecord, part: str) -> object:
    return getattr(record, part, "")
