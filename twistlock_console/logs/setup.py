"""Set up logging: one line a record, for programs or people, to stderr and a file.

Every record has its node and epoch and, within a request, the request and its user. On
a full disk, lines are dropped; neither the caller nor the writer fails.
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

#: On a full disk each line fails; the failure is logged at this interval.
REPORT_INTERVAL_NS = 60 * SECOND
FILE = "console.log"
#: Records that wait for a disk that hangs; further ones are dropped.
MAX_QUEUED_RECORDS = 10_000
MAX_FILE_BYTES = 20_000_000
QUIET_LOGGERS = {"pymongo": logging.ERROR, "urllib3": logging.ERROR}
CONTEXT_FIELDS = ("node", "epoch", "request", "user")
#: Line breaks, and characters that change the displayed order of a line.
_CONTROL = re.compile(
    r"[\x00-\x08\x0a-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069]"
)
log = logging.getLogger(__name__)


class LogWriter(WatchedFileHandler):
    """Appends to a log file, and to its successor when the file is rotated."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, encoding="utf-8")
        self._quiet_until = 0

    def emit(self, record: logging.LogRecord) -> None:
        """Write the line; close the file on any error.

        Python's handler reports errors of writing alone, not of closing the old file
        and opening the new one. An open deleted file would occupy space on a full disk.
        """
        try:
            super().emit(record)
        except Exception:
            self.close()
            self.handleError(record)

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802
        """Log why lines are dropped, so that another handler may show it.

        That line may fail in this handler too; then this method returns at once.
        """
        del record
        now = boottime_ns()
        if now < self._quiet_until:
            return
        self._quiet_until = now + REPORT_INTERVAL_NS
        error = sys.exc_info()[1]
        log.warning("lines are not written to %s: %s", self.baseFilename, error)

    def close(self) -> None:
        """Close the file; on a full disk, buffered lines are lost."""
        with suppress(OSError):
            super().close()


class LogContext(logging.Filter):
    """Adds the context to each record: node, epoch, request, user."""

    def __init__(self) -> None:
        super().__init__()
        self.node = ""
        self.epoch: Callable[[], int] = lambda: 0

    def filter(self, record: logging.LogRecord) -> bool:
        """Add the context; accept every record."""
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
    """Formats a record as one JSON object without its empty members."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as a line."""
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
    """Formats a record for people; its text cannot forge another line."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as a line, followed by the traceback if there is one."""
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
    """Log in the human format to standard error, which systemd or the caller keeps."""
    logging.getLogger().setLevel(level.upper())
    for name, quiet in QUIET_LOGGERS.items():
        logging.getLogger(name).setLevel(quiet)
    _install_handlers(PlainLines(), logging.StreamHandler(sys.stderr))


@contextmanager
def log_as_node(settings: Settings) -> Iterator[None]:
    """Log to standard error and to the file of the node.

    A thread writes the file: a disk that hangs must not prevent the node from closing
    its ports.
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
            # Full: the disk hangs, and the thread cannot be stopped.
            with suppress(queue.Full):
                listener.stop()


def log_as_server(settings: Settings, epoch: Callable[[], int]) -> None:
    """Log as `log_as_node` does, but without a thread, because a server may fork."""
    LOG_CONTEXT.node = settings.node_address
    LOG_CONTEXT.epoch = epoch
    logging.getLogger().setLevel(logging.INFO)
    handlers: list[logging.Handler] = [*_stderr_handlers(settings)]
    if settings.folders.log.is_dir():
        handlers.append(LogWriter(log_file(settings.folders)))
    _install_handlers(FORMATS[settings.log_format](), *handlers)


def rotate_log(folders: Folders) -> None:
    """Rotate the log file if it is large; every process reopens it by itself."""
    rotate_files(log_file(folders), MAX_FILE_BYTES)


def log_file(folders: Folders) -> Path:
    """Return the path of the node's log file."""
    return folders.log / FILE


class _DroppingQueueHandler(QueueHandler):
    """Queues formatted lines; drops a line when the queue is full."""

    def prepare(self, record: logging.LogRecord) -> logging.LogRecord:
        """Format the line on the calling thread, which has the request context."""
        return logging.makeLogRecord({"msg": self.format(record)})

    def enqueue(self, record: logging.LogRecord) -> None:
        """Add the record to the queue, or drop it; never wait."""
        try:
            self.queue.put_nowait(record)
        except queue.Full:
            return


def _stderr_handlers(settings: Settings) -> list[logging.Handler]:
    """Return the handlers for standard error; none if that is the log file already."""
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
