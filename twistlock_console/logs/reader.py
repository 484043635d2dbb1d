"""Read the latest lines of this node's log."""

import re
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from twistlock_console.common.json_members import load_json
from twistlock_console.common.redaction import redact_text
from twistlock_console.logs.setup import log_file
from twistlock_console.settings import Folders

MAX_LINES = 2_000
#: The end of a file that is read; a line has about 200 bytes, a traceback 4,000.
MAX_READ_BYTES = 4 * 1024 * 1024
_PLAIN = re.compile(r"(\d{4}-\d\d-\d\dT\S{8,}Z) ([A-Z]+) (.*)")


@dataclass(frozen=True, slots=True)
class LogLine:
    """One line: time, level and text; a line of a traceback has a text alone."""

    time: str
    level: str
    log: str

    def to_json(self) -> dict[str, str]:
        """Return the line as the API shows it."""
        return asdict(self)


def read_latest_lines(folders: Folders, count: int) -> list[LogLine]:
    """Return at most the last *count* lines of all processes, oldest first.

    Raises OSError if the file exists and cannot be read.
    """
    newest = log_file(folders)
    count = min(count, MAX_LINES)
    lines, is_whole = _tail(newest)
    # If the start of this file was not read, the older file does not adjoin.
    if len(lines) < count and is_whole:
        lines = _tail(Path(f"{newest}.1"))[0] + lines
    read = map(parse_line, lines[-count:])
    # An earlier release may have written lines without redaction.
    return [replace(line, log=redact_text(line.log)) for line in read]


def parse_line(text: str) -> LogLine:
    """Parse a line of either format."""
    if text.startswith("{"):
        try:
            return _from_json(load_json(text))
        except (ValueError, TypeError, KeyError):
            return LogLine("", "", text)
    if found := _PLAIN.fullmatch(text):
        return LogLine(*found.groups())
    return LogLine("", "", text)


def _from_json(fields: dict[str, object]) -> LogLine:
    time, level = str(fields.pop("time")), str(fields.pop("level"))
    words = f"{fields.pop('logger')}: {fields.pop('message')}"
    error = fields.pop("error", "")
    rest = " ".join(f"{name}={value}" for name, value in fields.items())
    first = f"{words} {rest}".strip()
    return LogLine(time, level, f"{first}\n{error}".strip())


def _tail(file: Path) -> tuple[list[str], bool]:
    """Return the last lines of *file*, and whether these are all its lines."""
    if not file.exists():
        return [], True
    with file.open("rb") as log:
        size = log.seek(0, 2)
        begin = max(0, size - MAX_READ_BYTES)
        log.seek(begin)
        lines = log.read(MAX_READ_BYTES).decode(errors="replace").splitlines()
    # The first one may have lost its beginning.
    return (lines[1:], False) if begin else (lines, True)
