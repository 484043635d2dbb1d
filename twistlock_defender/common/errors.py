"""Define the errors of the Defender; each message is one sentence to act on."""

import sqlite3


class DefenderError(Exception):
    """An error that the Defender reports in one sentence."""


class FolderError(DefenderError):
    """A file in the Defender's folder is missing or cannot be used."""


class EnrolError(DefenderError):
    """The Console did not enrol this Defender."""


class ConsoleRejected(DefenderError):
    """The Console must not be obeyed, or rejected this Defender."""


class ConsoleTimeout(DefenderError):
    """The Console was silent for longer than the timeout."""


#: Our statements fit our tables: where they do not, the tables are damaged.
CORRUPTION = (
    *(sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_FORMAT),
    *(sqlite3.SQLITE_ERROR, sqlite3.SQLITE_MISMATCH),
)


def is_corruption(error: Exception) -> bool:
    """Return whether *error* means that a file of SQLite is corrupt."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    return code in CORRUPTION


def describe_error(error: Exception) -> str:
    """Return a description of *error*; texts of unexpected errors are logged only."""
    if isinstance(error, sqlite3.Error):
        return str(error)
    reason = getattr(error, "strerror", None)
    return str(reason) if reason else "an error that was not foreseen; see the log"
