"""Extra names in the certificates of all nodes, as they were added on the pages.

They are in the database, so every node has them; each node polls them, and renews its
certificate when they have changed (`renewal`).
"""

from collections.abc import Sequence
from functools import cached_property

from pymongo import ReadPreference
from pymongo.errors import PyMongoError

from twistlock_console.common.error_text import describe_error
from twistlock_console.common.errors import DatabaseError, Refused
from twistlock_console.database.client import Client, Db, connect, credentials_for
from twistlock_console.settings import Settings
from twistlock_console.settings.parsers import names

SETTINGS = "settings"
CERTS = "certs"
MAX_EXTRA_NAMES = 50


def read_names(database: Db) -> tuple[str, ...]:
    """Return the names that were added."""
    found = database[SETTINGS].find_one({"_id": CERTS}) or {}
    return tuple(found.get("consoleSAN", ()))


def write_names(database: Db, new: Sequence[str]) -> None:
    """Store *new* in place of the stored names."""
    kept = {"consoleSAN": list(new)}
    database[SETTINGS].replace_one({"_id": CERTS}, kept, upsert=True)


def checked_names(wanted: Sequence[str]) -> tuple[str, ...]:
    """Return *wanted* as names for a certificate, each once; raises Refused."""
    try:
        found = [name for text in wanted for name in _parse_name(text)]
    except ValueError as error:
        raise Refused(str(error)) from error
    # DNS ignores case: of two spellings the first one stays.
    each_once = {name.lower(): name for name in reversed(found)}
    if len(each_once) > MAX_EXTRA_NAMES:
        raise Refused(f"a certificate can have {MAX_EXTRA_NAMES} more names at most")
    return tuple(name for name in dict.fromkeys(found) if name in each_once.values())


def _parse_name(text: str) -> tuple[str, ...]:
    if "," in text or not text.strip():
        raise ValueError(f"{text[:80]!r} is neither a DNS name nor an IP address")
    return names(text.strip())


class ExtraNamesReader:
    """Reads the extra names from this node's own database member, for its renewal."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    @cached_property
    def _client(self) -> Client:
        credentials = credentials_for(self._settings, "console")
        return connect(
            self._settings,
            credentials,
            app_name="names",
            timeout_ms=2000,
            retry_reads=False,
        )

    def read(self) -> tuple[str, ...]:
        """Return the extra names; raises DatabaseError if they cannot be read."""
        try:
            # A standby's member answers too.
            here = self._client.get_database(
                "twistlock", read_preference=ReadPreference.NEAREST
            )
            return read_names(here)
        except PyMongoError as error:
            why = describe_error(error)
            raise DatabaseError(f"the extra names cannot be read now: {why}") from error

    def close(self) -> None:
        """Close the connection to the database."""
        self._client.close()
