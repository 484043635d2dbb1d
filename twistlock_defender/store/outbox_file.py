"""The file of the outbox: numbered findings in SQLite, bounded, the oldest go first."""

import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path

from twistlock_defender.common.findings import Entry, Lost

ROW_BYTES = 64
BUSY_SECONDS = 5.0
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
NEXT = "SELECT number, body FROM events WHERE number > ? ORDER BY number LIMIT ?"


class OutboxFile:
    """The file at *path*, of about *limit* bytes. Its calls raise sqlite3.Error.

    One thread at a time. *count* and *bytes* tell what is in it. Numbers up to *given*
    are those of a file before, and are not given again.
    """

    def __init__(self, path: Path, limit: int, given: int) -> None:
        self._limit = limit
        # A Defender that is installed again has lost its numbers, and one whose disk
        # is set back has forgotten the last, yet the Console takes a number that it
        # knows for a repetition. Milliseconds outrun findings, but for a moment.
        self._begin = max(time.time_ns() // 1_000_000, given)
        self._database = sqlite3.connect(
            path, BUSY_SECONDS, isolation_level=None, check_same_thread=False
        )
        try:
            self._prepare()
        except BaseException:
            self._database.close()
            raise

    def close(self) -> None:
        """Close it; twice is as once."""
        self._database.close()

    def add(self, bodies: Sequence[str], skipped: int) -> None:
        """Append *bodies*; *skipped* earlier ones never came here, and are lost."""
        rows = [(body,) for body in bodies]
        with self._adding():
            if skipped:
                [(last,)] = self._database.execute(LAST_NUMBER).fetchall()
                self._database.execute(SKIP_NUMBERS, (skipped,))
                self._database.execute(ADD_LOST, (skipped, last + 1, last + skipped))
            self._database.executemany("INSERT INTO events (body) VALUES (?)", rows)
            self._grow(len(rows), sum(map(_bytes, bodies)))
            if self.bytes > self._limit:
                self._drop_oldest()

    def after(self, number: int, count: int) -> list[Entry]:
        """The next findings behind *number*, at most *count*."""
        rows = self._database.execute(NEXT, (number, count)).fetchall()
        return [Entry(*row) for row in rows]

    def delete(self, through: int) -> None:
        """Forget every finding with a number up to *through*."""
        with self._transaction():
            [(count, size)] = self._database.execute(SIZE, (through,)).fetchall()
            self._database.execute("DELETE FROM events WHERE number <= ?", (through,))
            self._grow(-count, -size)

    def tell_of_lost(self, notice: Callable[[Lost], str]) -> None:
        """Append one finding, which *notice* writes, for all that were dropped."""
        rows = self._database.execute("SELECT count, first, last FROM lost").fetchall()
        if not rows:
            return
        body = notice(Lost(*rows[0]))
        with self._adding():
            self._database.execute("DELETE FROM lost")
            self._database.execute(
                "INSERT INTO events (body, notice) VALUES (?, 1)", (body,)
            )
            self._grow(1, _bytes(body))

    def _prepare(self) -> None:
        self._database.execute("PRAGMA journal_mode = WAL")
        # FULL: a commit is on disk, so that a power cut takes nothing back.
        self._database.execute("PRAGMA synchronous = FULL")
        self._database.executescript(SCHEMA)
        self._database.execute(BEGIN_NUMBERS, (self._begin,))
        self._measure()

    def _drop_oldest(self) -> None:
        """Make room, a little more than is needed so that it lasts."""
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
        self._grow(-len(numbers), -size)

    def _grow(self, count: int, size: int) -> None:
        self.count += count
        self.bytes += size

    def _measure(self) -> None:
        [(self.count, self.bytes)] = self._database.execute(SIZE, (ALL,)).fetchall()

    @contextmanager
    def _adding(self) -> Iterator[None]:
        """A transaction that gives numbers, none below where this file began.

        Not at opening: a full disk can be read, and this costs no commit of its own.
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
            # A full disk has rolled back by itself already.
            with suppress(sqlite3.Error):
                self._database.execute("ROLLBACK")
            with suppress(sqlite3.Error):
                self._measure()
            raise


def _bytes(body: str) -> int:
    return len(body.encode()) + ROW_BYTES
