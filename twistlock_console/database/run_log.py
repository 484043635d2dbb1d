"""What mongod wrote in one run, and the rotation of its log."""

from pathlib import Path

from twistlock_console.database.last_words import why_it_ended
from twistlock_console.database.options import LOG
from twistlock_console.settings import Folders

MOST_BYTES = 100_000_000
KEPT = 10
#: Enough for a fatal line and the stack trace after it.
TAIL_BYTES = 512 * 1024


class RunLog:
    """The log of mongod from where a run began; *output* is what came before it."""

    def __init__(self, folders: Folders) -> None:
        self.path = folders.log / LOG
        self.output = folders.log / "mongod.out"
        self._begin = _size(self.path)

    def reason(self, code: int) -> str:
        """Say why the run ended with exit *code*, as a sentence."""
        try:
            lines = self._tail().decode(errors="replace").splitlines()
            output = self.output.read_text(errors="replace")
        except OSError as error:
            return f"mongod ended with code {code}; its log: {error.strerror}"
        return why_it_ended(code, lines, output)

    def _tail(self) -> bytes:
        size = _size(self.path)
        # Shorter than at the beginning: it was rotated meanwhile.
        begin = self._begin if self._begin <= size else 0
        if not size:
            return b""
        with self.path.open("rb") as file:
            file.seek(max(begin, size - TAIL_BYTES))
            return file.read()


def rotate_files(log: Path, most_bytes: int = MOST_BYTES) -> bool:
    """Rename *log* to log.1, log.1 to log.2, …; the oldest of KEPT goes.

    Only if it has at least *most_bytes*; says whether. Raises OSError.
    """
    if _size(log) < most_bytes:
        return False
    for number in reversed(range(1, KEPT)):
        older = Path(f"{log}.{number}")
        if older.exists():
            older.replace(f"{log}.{number + 1}")
    log.replace(f"{log}.1")
    return True


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0
