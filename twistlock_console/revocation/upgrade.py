"""Copy what an earlier release stored as revoked into the one collection of now.

It stays where it was as well, until its time has come: if the upgrade fails, the
earlier release is put back, and must find it.
"""

from datetime import UTC, datetime

from pymongo import UpdateOne
from pymongo.database import Database

from twistlock_console.revocation.store import COLLECTION, RevocationKind

#: By collection, with the field that says whose proof it was.
EARLIER = {
    "revoked_certificates": (RevocationKind.CERTIFICATE, "defender"),
    "revoked_sessions": (RevocationKind.SESSION, ""),
}
BATCH_SIZE = 5000


def upgrade(database: Database[dict[str, object]]) -> None:
    """Copy all of it; may be repeated."""
    for earlier, (kind, owner) in EARLIER.items():
        changes: list[UpdateOne] = []
        for each in database[earlier].find():
            document = {
                "kind": kind,
                "name": str(each["_id"]),
                "owner": str(each.get(owner, "")),
                "time": datetime.now(UTC),
                "expires": each["expires"],
            }
            key = {"_id": f"{kind}:{each['_id']}"}
            changes.append(UpdateOne(key, {"$setOnInsert": document}, upsert=True))
            if len(changes) >= BATCH_SIZE:
                database[COLLECTION].bulk_write(changes, ordered=False)
                changes = []
        if changes:
            database[COLLECTION].bulk_write(changes, ordered=False)
