"""Store the findings that the Console has not acknowledged, on disk and in order.

Numbers rise and are never reused, not even those of dropped findings. When `report` or
`add` returns, the findings are on disk, unless `trouble` says why not: then they are
held in memory and written as soon as possible.
"""

import logging
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from twistlock_console.protocol import (
    UNNUMBERED,
    DroppedEvent,
    Event,
    encode_unnumbered,
)
from twistlock_defender.common.clock import utc_now
from twistlock_defender.common.errors import is_corruption

MAX_HELD_EVENTS = 10_000
ROW_BYTES = 64
BUSY_TIMEOUT_S = 5.0
SCHEMA = """
CREATE TABLE IF NOT EXISTS events (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    body TEXT NOT NULL,
    notice INTEGER NOT NULL DEFAULT 0
);
CREATE TABLE IF NOT EXISTS lost (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    count INTEGER NOT NULL, first INTEGER NOT NULL, last INTEGER NOT NULL
);
"""
BEGIN_NUMBERS = """
INSERT INTO sqlite_sequence SELECT 'events', ?
    WHERE NOT EXISTS (SELECT 1 FROM sqlite_sequence WHERE name = 'events')
"""
RAISE_NUMBERS = (
    "UPDATE sqlite_sequence SET seq = :begin WHERE name = 'events' AND seq < :begin"
)
LAST_NUMBER = "SELECT seq FROM sqlite_sequence WHERE name = 'events'"
SKIP_NUMBERS = "UPDATE sqlite_sequence SET seq = seq + ? WHERE name = 'events'"
ADD_LOST = """
INSERT INTO lost VALUES (1, ?, ?, ?) ON CONFLICT (one) DO UPDATE SET
    count = count + excluded.count,
    first = min(first, excluded.first), last = max(last, excluded.last)
"""
SIZE = (
    "SELECT count(*), coalesce(sum(length(CAST(body AS BLOB)) + 64), 0) FROM events "
    "WHERE number <= ?"
)
OLDEST = (
    "SELECT number, length(CAST(body AS BLOB)) + 64 FROM events "
    "WHERE NOT notice ORDER BY number"
)
ALL = 2**63 - 1
NEXT = (
    "SELECT number, CAST(body AS BLOB) FROM events "
    "WHERE number > ? ORDER BY number LIMIT ?"
)
IsSound = Callable[[int, str], bool]
log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class OutboxEntry:
    """One finding with its number; *body* is JSON without the number."""

    number: int
    body: str


@dataclass(frozen=True, slots=True)
class OutboxState:
    """The fill level of the outbox; *oldest* is the body of its oldest finding."""

    count: int
    bytes: int
    oldest: str | None
    trouble: str | None


class Outbox:
    """The outbox at *path*, of about *limit* bytes. Any thread may use it.

    `on_new` is called, on the thread that adds, when there is more to send. Findings
    that are not sound any more, as *is_sound* says of number and body, are dropped and
    counted as lost: a Console would close the connection at each of them.
    """

    def __init__(
        self, path: Path, limit: int, is_sound: IsSound = lambda _number, _body: True
    ) -> None:
        self._path = path
        self._limit = limit
        self._is_sound = is_sound
        self._lock = threading.Lock()
        self._held: deque[str] = deque()
        self._dropped_held = 0
        self._last_given = 0
        self._trouble: str | None = None
        self._file: OutboxFile | None = None
        self._closed = False
        self.on_new: Callable[[], None] = lambda: None
        with self._lock:
            self._attempt(lambda file: None)

    def close(self) -> None:
        """Close the file. Idempotent."""
        with self._lock:
            self._closed = True
            if self._file:
                self._file.close()

    def report(self, events: Sequence[Event]) -> None:
        """Add *events* and number them."""
        self.add([encode_unnumbered(event) for event in events])

    def add(self, bodies: Sequence[str]) -> None:
        """Store *bodies* (JSON); drop the oldest findings above the limit."""
        with self._lock:
            self._held.extend(bodies)
            self._write_held()
        self.on_new()

    def retry(self) -> None:
        """Write the held findings, or test whether writing works again."""
        with self._lock:
            if not self._held and not self._trouble:
                return
            self._write_held()
        self.on_new()

    def batch(self, after: int, count: int, size: int) -> list[OutboxEntry]:
        """Return at most *count* findings after number *after*, of *size* bytes in all.

        If there is any, return at least one, whatever its size.
        """
        found: list[OutboxEntry] = []
        with self._lock:
            self._attempt(lambda file: file.add_notice())
            self._attempt(lambda file: found.extend(file.after(after, count)))
            if found:
                self._last_given = max(self._last_given, found[-1].number)
        fitting: list[OutboxEntry] = []
        for entry in found:
            size -= len(entry.body)
            if size < 0 and fitting:
                break
            fitting.append(entry)
        return fitting

    def delete(self, through: int) -> None:
        """Delete the findings numbered up to *through*, which the Console stored."""
        with self._lock:
            self._attempt(lambda file: file.delete(through))

    def state(self) -> OutboxState:
        """Return the present fill level."""
        found: list[OutboxEntry] = []
        with self._lock:
            self._attempt(lambda file: found.extend(file.after(0, 1)))
            oldest = found[0].body if found else next(iter(self._held), None)
            count, size = len(self._held), 0
            if self._file:
                count, size = count + self._file.count, self._file.bytes
            return OutboxState(count, size, oldest, self._trouble)

    def _quarantine_file(self, error: Exception) -> None:
        if self._file:
            self._file.close()
            self._file = None
        # The file itself last: a new file must not find the log of the old one.
        for ending in ("-wal", "-shm", ""):
            path = self._path.with_name(self._path.name + ending)
            if path.exists():
                path.replace(path.with_name(f"{path.name}.damaged"))
        log.error(
            "%s is damaged (%s); it is kept as %s.damaged, its findings are not sent",
            *(self._path, error, self._path.name),
        )

    def _write_held(self) -> None:
        bodies, skipped = list(self._held), self._dropped_held
        if self._attempt(lambda file: file.add(bodies, skipped)):
            self._held.clear()
            self._dropped_held = 0
            self._trouble = None
            return
        while len(self._held) > MAX_HELD_EVENTS:
            self._held.popleft()
            self._dropped_held += 1

    def _attempt(self, act: "Callable[[OutboxFile], object]") -> bool:
        """Call *act*; on an error record the reason and return False."""
        if self._closed:
            return False
        try:
            try:
                self._do(act)
            except (sqlite3.DatabaseError, ValueError, TypeError) as error:
                if isinstance(error, sqlite3.Error) and not is_corruption(error):
                    raise
                # Opening does not read every page: some damage shows only now.
                self._quarantine_file(error)
                self._do(act)
            return True
        except (sqlite3.Error, OSError) as error:
            self._record_failure(error)
            return False

    def _do(self, act: "Callable[[OutboxFile], object]") -> None:
        if not self._file:
            self._file = OutboxFile(
                self._path, self._limit, self._last_given, self._is_sound
            )
        act(self._file)

    def _record_failure(self, error: sqlite3.Error | OSError) -> None:
        sentence = (
            f"{self._path} cannot be written ({error}); "
            f"findings are held in memory, {MAX_HELD_EVENTS:,} at most"
        )
        if sentence != self._trouble:
            log.error("%s", sentence)
        self._trouble = sentence


class OutboxFile:
    """Numbered findings in SQLite at *path*; drops the oldest above *limit* bytes.

    One thread at a time may use it; calls raise sqlite3.Error. *count* and *bytes* are
    its totals. Numbers up to *given* belong to an earlier file and are not reused.
    """

    def __init__(self, path: Path, limit: int, given: int, is_sound: IsSound) -> None:
        self._limit = limit
        self._is_sound = is_sound
        # A Defender that is installed again has lost its numbers, and a restored disk
        # has old ones; but the Console considers a known number a repetition. The time
        # in milliseconds grows faster than the number of findings.
        self._begin = max(time.time_ns() // 1_000_000, given)
        self._database = sqlite3.connect(
            path, BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False
        )
        try:
            self._prepare()
        except BaseException:
            self._database.close()
            raise

    def close(self) -> None:
        """Close the file. Idempotent."""
        self._database.close()

    def add(self, bodies: Sequence[str], skipped: int) -> None:
        """Append *bodies*; *skipped* earlier ones were dropped from memory."""
        rows = [(body,) for body in bodies]
        with self._adding():
            if skipped:
                [(last,)] = self._database.execute(LAST_NUMBER).fetchall()
                self._database.execute(SKIP_NUMBERS, (skipped,))
                self._database.execute(ADD_LOST, (skipped, last + 1, last + skipped))
            self._database.executemany("INSERT INTO events (body) VALUES (?)", rows)
            self._update_totals(len(rows), sum(map(_bytes, bodies)))
            if self.bytes > self._limit:
                self._drop_oldest()

    def after(self, number: int, count: int) -> list[OutboxEntry]:
        """Return at most *count* findings after *number*; drop damaged ones."""
        while True:
            rows = self._database.execute(NEXT, (number, count)).fetchall()
            found = [OutboxEntry(n, body.decode(errors="replace")) for n, body in rows]
            damaged = [e.number for e in found if not self._is_sound(e.number, e.body)]
            if not damaged:
                return found
            self._drop(damaged)

    def _drop(self, damaged: Sequence[int]) -> None:
        log.error("%d findings were damaged on the disk, and are lost", len(damaged))
        with self._transaction():
            numbers = [(number,) for number in damaged]
            self._database.executemany("DELETE FROM events WHERE number = ?", numbers)
            self._database.execute(ADD_LOST, (len(damaged), damaged[0], damaged[-1]))
            self._recount_totals()

    def delete(self, through: int) -> None:
        """Delete the findings numbered up to *through*."""
        with self._transaction():
            [(count, size)] = self._database.execute(SIZE, (through,)).fetchall()
            self._database.execute("DELETE FROM events WHERE number <= ?", (through,))
            self._update_totals(-count, -size)

    def add_notice(self) -> None:
        """Append one finding about the dropped findings, if there are any."""
        rows = self._database.execute("SELECT count, first, last FROM lost").fetchall()
        if not rows:
            return
        event = DroppedEvent(UNNUMBERED, utc_now(), *rows[0])
        body = encode_unnumbered(event)
        with self._adding():
            self._database.execute("DELETE FROM lost")
            self._database.execute(
                "INSERT INTO events (body, notice) VALUES (?, 1)", (body,)
            )
            self._update_totals(1, _bytes(body))

    def _prepare(self) -> None:
        self._database.execute("PRAGMA journal_mode = WAL")
        # FULL: a commit survives a power failure.
        self._database.execute("PRAGMA synchronous = FULL")
        self._database.executescript(SCHEMA)
        self._database.execute(BEGIN_NUMBERS, (self._begin,))
        self._recount_totals()

    def _drop_oldest(self) -> None:
        """Drop the oldest findings, and a few more, so that this runs rarely."""
        excess = self.bytes - self._limit + self._limit // 32
        numbers, size = [], 0
        with closing(self._database.execute(OLDEST)) as rows:
            for number, length in rows:
                numbers.append(number)
                size += length
                if size >= excess:
                    break
        self._database.execute(
            "DELETE FROM events WHERE NOT notice AND number <= ?", (numbers[-1],)
        )
        self._database.execute(ADD_LOST, (len(numbers), numbers[0], numbers[-1]))
        self._update_totals(-len(numbers), -size)

    def _update_totals(self, count: int, size: int) -> None:
        self.count += count
        self.bytes += size

    def _recount_totals(self) -> None:
        [(self.count, self.bytes)] = self._database.execute(SIZE, (ALL,)).fetchall()

    @contextmanager
    def _adding(self) -> Iterator[None]:
        """Open a transaction that assigns numbers above the start of this file.

        Not when the file is opened: a full disk must remain readable.
        """
        with self._transaction():
            self._database.execute(RAISE_NUMBERS, {"begin": self._begin})
            yield

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._database.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._database.execute("COMMIT")
        except BaseException:
            # On a full disk, SQLite has rolled back already.
            with suppress(sqlite3.Error):
                self._database.execute("ROLLBACK")
            with suppress(sqlite3.Error):
                self._recount_totals()
            raise


def _bytes(body: str) -> int:
    return len(body.encode()) + ROW_BYTES
