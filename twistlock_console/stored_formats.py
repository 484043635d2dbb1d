"""Bring what an earlier release stored into the form that this one reads."""

from typing import Any

from pymongo.database import Database
from pymongo.errors import PyMongoError

from twistlock_console.accounts import users
from twistlock_console.common.error_text import describe_error
from twistlock_console.common.errors import DatabaseError
from twistlock_console.defenders import enrolled, event_store, register
from twistlock_console.revocation import upgrade as revocations

SETTINGS = "settings"
#: The document that says which form is stored. A restore brings the backup's own.
FORMAT_ID = "storedFormat"
FORMAT = 3
Store = Database[dict[str, Any]]


def upgrade_if_needed(database: Store) -> None:
    """Upgrade a database that an earlier release wrote; one read if it is not.

    For the serving node while its ports are closed. Raises DatabaseError.
    """
    try:
        found = database[SETTINGS].find_one({"_id": FORMAT_ID}) or {}
        if found.get("version", 0) < FORMAT:
            upgrade(database)
            form = {"$set": {"version": FORMAT}}
            database[SETTINGS].update_one({"_id": FORMAT_ID}, form, upsert=True)
    except PyMongoError as error:
        raise DatabaseError(
            "the stored data cannot be brought into the form of this release: "
            f"{describe_error(error)}"
        ) from error


def upgrade(database: Store) -> None:
    """Upgrade everything; each step may be repeated. pymongo's errors pass through."""
    users.add_name_keys(database)
    register.add_name_keys(database)
    revocations.upgrade(database)
    enrolled.seed(database)
    event_store.add_times_of_receipt(database)
