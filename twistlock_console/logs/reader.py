"""The latest lines of this node's log, read back; pure but for the file."""

import json
import re
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from twistlock_console.common.redaction import redact_text
from twistlock_console.logs.setup import log_file
from twistlock_console.settings import Folders

MAX_LINES = 2_000
#: No more of a file is read; a line has 200 bytes or so, a traceback 4,000.
MAX_READ_BYTES = 4 * 1024 * 1024
_PLAIN = re.compile(r"(\d{4}-\d\d-\d\dT\S{8,}Z) ([A-Z]+) (.*)")


@dataclass(frozen=True, slots=True)
class LogLine:
    """One line: when, how grave, and the rest; a traceback has only the rest."""

    time: str
    level: str
    log: str

    def to_json(self) -> dict[str, str]:
        """Return the line as the API shows it."""
        return asdict(self)


def read_latest_lines(folders: Folders, count: int) -> list[LogLine]:
    """Return the last *count* lines at most, oldest first; those of all processes.

    Raises OSError when the file is there and cannot be read.
    """
    newest = log_file(folders)
    count = min(count, MAX_LINES)
    lines, is_whole = _tail(newest)
    # Where the beginning of a file was left out, an older one does not go on from it.
    if len(lines) < count and is_whole:
        lines = _tail(Path(f"{newest}.1"))[0] + lines
    read = map(parse_line, lines[-count:])
    # An earlier release wrote some of these lines.
    return [replace(line, log=redact_text(line.log)) for line in read]


def parse_line(text: str) -> LogLine:
    """Understand a line of either format."""
    if text.startswith("{"):
        try:
            return _from_json(json.loads(text))
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
    """Return the last lines of *file*, and whether they are all that it has."""
    if not file.exists():
        return [], True
    with file.open("rb") as log:
        size = log.seek(0, 2)
        begin = max(0, size - MAX_READ_BYTES)
        log.seek(begin)
        lines = log.read(MAX_READ_BYTES).decode(errors="replace").splitlines()
    # The first one may have lost its beginning.
    return (lines[1:], False) if begin else (lines, True)
