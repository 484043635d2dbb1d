"""Upgrade the data of earlier releases to the format of this release.

If an upgrade fails, the earlier release is installed again and may serve for long
before the next attempt. So the upgrade removes nothing that the earlier release reads,
and finds what that wrote meanwhile by its form, not only by the number of the stored
format.
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
#: The document with the number of the stored format. A restore replaces it.
FORMAT_ID = "storedFormat"
FORMAT = 4


def upgrade_if_needed(database: Db) -> None:
    """Upgrade the data of earlier releases; costs one query if there are none.

    Called on the serving node while its ports are closed. Raises DatabaseError.
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
            f"the stored data cannot be upgraded to the format of this release: {why}"
        ) from error


def upgrade(database: Db) -> None:
    """Upgrade everything; each step is idempotent. Raises PyMongoError."""
    users.add_name_keys(database)
    register.add_name_keys(database)
    revocations.upgrade(database)
    enrolled.add_earlier_names(database)
    event_store.add_times_of_receipt(database)


_EARLIER = tuple(revocations.EARLIER)


def _read_state(database: Db) -> Mapping[str, Document]:
    """Return the documents that show whether an upgrade is needed, by their kind.

    These are the stored format, the latest revocation of each earlier collection, and
    one document without a compared name. Each revocation of an earlier release expires
    later than those before it.
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
