"""What the Defender has found and the Console has not yet stored: on disk, in order.

Numbers rise and are never given twice, not even those of findings that were dropped.
What `add` was given is on disk when it returns, unless `trouble` says why not; then
it is held in memory and written as soon as that works.
"""

import logging
import sqlite3
import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from twistlock_defender.common.findings import Entry, Lost
from twistlock_defender.store.outbox_file import OutboxFile

HELD_AT_MOST = 10_000
log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class OutboxState:
    """How full it is; *oldest* is the body of its oldest finding."""

    count: int
    bytes: int
    oldest: str | None
    trouble: str | None


class Outbox:
    """The outbox at *path*, of about *limit* bytes; any thread may use it.

    *notice* writes the finding that tells what was dropped. `on_new` is called, on
    whichever thread adds, when there is more to send.
    """

    def __init__(self, path: Path, limit: int, notice: Callable[[Lost], str]) -> None:
        self._path = path
        self._limit = limit
        self._notice = notice
        self._lock = threading.Lock()
        self._held: deque[str] = deque()
        self._overheld = 0
        self._given = 0
        self._trouble: str | None = None
        self._file: OutboxFile | None = None
        self._closed = False
        self.on_new: Callable[[], None] = lambda: None
        with self._lock:
            self._attempt(lambda file: None)

    def close(self) -> None:
        """Close the file; twice is as once."""
        with self._lock:
            self._closed = True
            if self._file:
                self._file.close()

    def add(self, bodies: Sequence[str]) -> None:
        """Keep *bodies*, JSON each; the oldest go where there is no room."""
        with self._lock:
            self._held.extend(bodies)
            self._write_held()
        self.on_new()

    def retry(self) -> None:
        """Try again to write: what is held, or nothing, to see if it works."""
        with self._lock:
            if not self._held and not self._trouble:
                return
            self._write_held()
        self.on_new()

    def batch(self, after: int, count: int, size: int) -> list[Entry]:
        """The next findings behind number *after*: at most *count*, of *size* bytes.

        One at least is given, however big, if there is any.
        """
        found: list[Entry] = []
        with self._lock:
            self._attempt(lambda file: file.tell_of_lost(self._notice))
            self._attempt(lambda file: found.extend(file.after(after, count)))
            if found:
                self._given = max(self._given, found[-1].number)
        fitting: list[Entry] = []
        for entry in found:
            size -= len(entry.body)
            if size < 0 and fitting:
                break
            fitting.append(entry)
        return fitting

    def delete(self, through: int) -> None:
        """Forget every finding with a number up to *through*: the Console has it."""
        with self._lock:
            self._attempt(lambda file: file.delete(through))

    def state(self) -> OutboxState:
        """How full it is now."""
        found: list[Entry] = []
        with self._lock:
            self._attempt(lambda file: found.extend(file.after(0, 1)))
            oldest = found[0].body if found else next(iter(self._held), None)
            count, size = len(self._held), 0
            if self._file:
                count, size = count + self._file.count, self._file.bytes
            return OutboxState(count, size, oldest, self._trouble)

    def _set_aside(self, error: sqlite3.Error) -> None:
        if self._file:
            self._file.close()
            self._file = None
        # The file itself last: a new one must not find what belongs to the old.
        for ending in ("-wal", "-shm", ""):
            path = self._path.with_name(self._path.name + ending)
            if path.exists():
                path.replace(path.with_name(f"{path.name}.damaged"))
        log.error(
            "%s is damaged (%s); it is kept as %s.damaged, its findings are not sent",
            *(self._path, error, self._path.name),
        )

    def _write_held(self) -> None:
        bodies, skipped = list(self._held), self._overheld
        if self._attempt(lambda file: file.add(bodies, skipped)):
            self._held.clear()
            self._overheld = 0
            self._trouble = None
            return
        while len(self._held) > HELD_AT_MOST:
            self._held.popleft()
            self._overheld += 1

    def _attempt(self, act: Callable[[OutboxFile], object]) -> bool:
        """Do *act*; where the file does not let us, note why and go on."""
        if self._closed:
            return False
        try:
            try:
                self._do(act)
            except sqlite3.DatabaseError as error:
                if not _damaged(error):
                    raise
                # Opening reads not every page: some damage shows only now.
                self._set_aside(error)
                self._do(act)
            return True
        except (sqlite3.Error, OSError) as error:
            self._note(error)
            return False

    def _do(self, act: Callable[[OutboxFile], object]) -> None:
        if not self._file:
            self._file = OutboxFile(self._path, self._limit, self._given)
        act(self._file)

    def _note(self, error: sqlite3.Error | OSError) -> None:
        sentence = (
            f"{self._path} cannot be written ({error}); "
            f"findings are held in memory, {HELD_AT_MOST:,} at most"
        )
        if sentence != self._trouble:
            log.error("%s", sentence)
        self._trouble = sentence


def _damaged(error: Exception) -> bool:
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    return code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
