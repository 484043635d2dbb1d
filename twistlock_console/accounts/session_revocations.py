"""Sessions of pages and API that were ended by a log-out before their time."""

from datetime import UTC, datetime, timedelta
from typing import Any

from pymongo.database import Database

from twistlock_console.accounts.login_settings import LONGEST_TIMEOUT
from twistlock_console.revocation import store
from twistlock_console.revocation.store import Kind


def revoke(database: Database[dict[str, Any]], session_id: str) -> None:
    """End the session; stored for the longest time that one can last."""
    expires = datetime.now(UTC) + timedelta(seconds=LONGEST_TIMEOUT)
    store.revoke(database, Kind.SESSION, session_id, expires=expires)


def is_revoked(database: Database[dict[str, Any]], session_id: str) -> bool:
    """Return whether the session was ended by a log-out."""
    return store.is_revoked(database, Kind.SESSION, session_id)
