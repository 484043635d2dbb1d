"""Bring what an earlier release stored into the form that this one reads.

An upgrade that fails puts the earlier release back, which may serve for long before
the next attempt. So nothing that it reads is taken away, and what it wrote meanwhile
is found by its form, not only by the number of the form.
"""

from collections.abc import Mapping

from pymongo.errors import PyMongoError

from twistlock_console.accounts import users
from twistlock_console.common.error_text import describe_error
from twistlock_console.common.errors import DatabaseError
from twistlock_console.database.client import Db, Document
from twistlock_console.defenders import enrolled, event_store, register
from twistlock_console.revocation import upgrade as revocations

SETTINGS = "settings"
#: The document that says which form is stored. A restore brings the backup's own.
FORMAT_ID = "storedFormat"
FORMAT = 4


def upgrade_if_needed(database: Db) -> None:
    """Upgrade what an earlier release wrote; one question to the database if nothing.

    For the serving node while its ports are closed. Raises DatabaseError.
    """
    try:
        found = _read_state(database)
        stored = found.get(FORMAT_ID, {})
        latest = {name: found.get(name, {}).get("expires") for name in _EARLIER}
        is_current = stored.get("version", 0) >= FORMAT and not found.get("unnamed")
        if is_current and stored.get("latest") == latest:
            return
        upgrade(database)
        form = {"_id": FORMAT_ID, "version": FORMAT, "latest": latest}
        database[SETTINGS].replace_one({"_id": FORMAT_ID}, form, upsert=True)
    except PyMongoError as error:
        why = describe_error(error)
        raise DatabaseError(
            f"the stored data cannot be brought into the form of this release: {why}"
        ) from error


def upgrade(database: Db) -> None:
    """Upgrade everything; each step may be repeated. pymongo's errors pass through."""
    users.add_name_keys(database)
    register.add_name_keys(database)
    revocations.upgrade(database)
    enrolled.add_earlier_names(database)
    event_store.add_times_of_receipt(database)


_EARLIER = tuple(revocations.EARLIER)


def _read_state(database: Db) -> Mapping[str, Document]:
    """Return the stored form, the latest revocations of before, and an unnamed one.

    Each revocation of an earlier release ends later than those before it.
    """
    stages: list[Document] = [{"$match": {"_id": FORMAT_ID}}]
    for name in _EARLIER:
        stages += _first(name, name, [{"$sort": {"expires": -1}}])
    for module in (users, register):
        unnamed = [{"$match": {module.NAME_KEY: None}}]
        stages += _first("unnamed", module.COLLECTION, unnamed)
    found = database[SETTINGS].aggregate(stages)
    return {str(each.get("found", FORMAT_ID)): each for each in found}


def _first(called: str, collection: str, stages: list[Document]) -> list[Document]:
    shown = {"found": {"$literal": called}, "expires": 1}
    pipeline = [*stages, {"$limit": 1}, {"$project": shown}]
    return [{"$unionWith": {"coll": collection, "pipeline": pipeline}}]
