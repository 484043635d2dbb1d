"""The errors the Defender raises; each message is one sentence to act on."""

import sqlite3


class DefenderError(Exception):
    """Anything the Defender reports in one sentence."""


class FolderError(DefenderError):
    """A file in the Defender's folder is missing or cannot be used."""


class EnrolError(DefenderError):
    """The Console did not enrol this Defender."""


class ConsoleRejected(DefenderError):
    """A Console that must not be obeyed, or that does not want us."""


class ConsoleTimeout(DefenderError):
    """The Console has said nothing for too long."""


def is_corruption(error: Exception) -> bool:
    """Return whether *error* says that a file of SQLite is damaged."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    return code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


def describe_error(error: Exception) -> str:
    """Return what happened in words; the text of other exceptions is for the log."""
    if isinstance(error, sqlite3.Error):
        return str(error)
    reason = getattr(error, "strerror", None)
    return str(reason) if reason else "an error that was not foreseen; see the log"
