"""Store the baseline: the state of watched files at the last comparison."""

import os
import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path

from twistlock_console.protocol import WatchedPath
from twistlock_defender.files.rules import FileRecord

SCHEMA = """
CREATE TABLE IF NOT EXISTS files (
    path BLOB PRIMARY KEY, hash TEXT, mode TEXT, owner TEXT, stamp TEXT
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS roots (
    path TEXT, recursive INTEGER, PRIMARY KEY (path, recursive)
);
"""
BATCH_SIZE = 1000
SAVE = "INSERT OR REPLACE INTO files VALUES (?, ?, ?, ?, ?)"
FIND = "SELECT hash, mode, owner, stamp FROM files WHERE path = ?"
NEXT = "SELECT path FROM files WHERE path > ? ORDER BY path LIMIT ?"


class Baseline:
    """The baseline in SQLite at *path*. One thread uses it; calls raise sqlite3.Error.

    A damaged file is replaced by an empty one; `rebuilt` is the sentence about it.
    Records that cannot be written, on a full disk, stay in *unsaved*, which the next
    Baseline object gets.
    """

    def __init__(self, path: Path, unsaved: dict[str, FileRecord | None]) -> None:
        self.rebuilt: str | None = None
        self._unsaved = unsaved
        try:
            self._database = _open(path)
        except sqlite3.OperationalError:
            raise
        except sqlite3.DatabaseError as error:
            self.rebuilt = f"{path} is damaged ({error}) and is rebuilt"
            self._database = _open(delete_baseline(path))

    def close(self) -> None:
        """Close the file. Idempotent."""
        self._database.close()

    def get(self, path: str) -> FileRecord | None:
        """Return the stored record of *path*; None if there was nothing."""
        if path in self._unsaved:
            return self._unsaved[path]
        row = self._database.execute(FIND, (os.fsencode(path),)).fetchone()
        return FileRecord(*row) if row else None

    def save(self, records: Sequence[tuple[str, FileRecord | None]]) -> None:
        """Save the present records of paths; None for a path that does not exist."""
        self._unsaved.update(records)
        rows = [
            (os.fsencode(path), record.hash, record.mode, record.owner, record.stamp)
            for path, record in self._unsaved.items()
            if record
        ]
        gone = [(os.fsencode(p),) for p, record in self._unsaved.items() if not record]
        with self._database:
            self._database.executemany(SAVE, rows)
            self._database.executemany("DELETE FROM files WHERE path = ?", gone)
        self._unsaved.clear()

    def paths(self) -> Iterator[str]:
        """Yield all stored paths; the caller may save records meanwhile."""
        last = b""
        while rows := self._database.execute(NEXT, (last, BATCH_SIZE)).fetchall():
            yield from (os.fsdecode(row[0]) for row in rows)
            last = rows[-1][0]

    def roots(self) -> set[WatchedPath]:
        """Return the roots that were watched before, and so have a baseline."""
        rows = self._database.execute("SELECT path, recursive FROM roots").fetchall()
        return {WatchedPath(path, bool(recursive)) for path, recursive in rows}

    def save_roots(self, roots: Sequence[WatchedPath]) -> None:
        """Replace the stored roots by *roots*."""
        with self._database:
            self._database.execute("DELETE FROM roots")
            self._database.executemany(
                "INSERT OR REPLACE INTO roots VALUES (?, ?)",
                [(root.path, root.recursive) for root in roots],
            )


def delete_baseline(path: Path) -> Path:
    """Delete a baseline that is not open; return its path."""
    for ending in ("", "-wal", "-shm"):
        path.with_name(path.name + ending).unlink(missing_ok=True)
    return path


def _open(path: Path) -> sqlite3.Connection:
    database = sqlite3.connect(path, check_same_thread=False)
    # A record that is damaged differs from its file, which then is found changed.
    database.text_factory = lambda text: text.decode(errors="replace")
    try:
        database.execute("PRAGMA journal_mode = WAL")
        # After a power failure the last changes may be reported twice; none is missed.
        database.execute("PRAGMA synchronous = NORMAL")
        database.executescript(SCHEMA)
    except BaseException:
        database.close()
        raise
    return database
