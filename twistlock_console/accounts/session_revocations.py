"""Sessions that were ended by a log-out before their time."""

from datetime import UTC, datetime, timedelta
from typing import Any

from pymongo.database import Database

from twistlock_console.accounts.login_settings import LONGEST_TIMEOUT

COLLECTION = "revoked_sessions"


def revoke(database: Database[dict[str, Any]], session_id: str) -> None:
    """End the session; kept for the longest time that one can last."""
    expires = datetime.now(UTC) + timedelta(seconds=LONGEST_TIMEOUT)
    database[COLLECTION].replace_one(
        {"_id": session_id}, {"expires": expires}, upsert=True
    )


def is_revoked(database: Database[dict[str, Any]], session_id: str) -> bool:
    """Tell whether the session was ended by a log-out."""
    return database[COLLECTION].find_one({"_id": session_id}) is not None
