"""Addresses from which somebody logged in to an account, so that they are known."""

from datetime import UTC, datetime, timedelta
from typing import Any

from pymongo.database import Database

from twistlock_console.accounts.login_throttle import Origin, network_of

COLLECTION = "known_origins"
KEPT = timedelta(days=90)
#: What is known is stored again this often, not at every login.
REFRESHED = timedelta(days=1)


def is_known(database: Database[dict[str, Any]], origin: Origin) -> bool:
    """Return whether the device, or the address, logged in to the account before."""
    if origin.device:
        return True
    return database[COLLECTION].find_one({"_id": _key(origin)}) is not None


def remember(database: Database[dict[str, Any]], origin: Origin) -> None:
    """Store a successful login."""
    now = datetime.now(UTC)
    found = database[COLLECTION].find_one({"_id": _key(origin)})
    if found is None or found["expires"] < now + KEPT - REFRESHED:
        database[COLLECTION].replace_one(
            {"_id": _key(origin)}, {"expires": now + KEPT}, upsert=True
        )


def _key(origin: Origin) -> str:
    return f"{network_of(origin.address)}:{origin.username}"
