"""Copy the revocations of earlier releases into the present collection.

The originals remain until they expire: if the upgrade fails, the earlier release is
installed again and must find them.
"""

from datetime import UTC, datetime

from pymongo import UpdateOne
from pymongo.database import Database

from twistlock_console.revocation.store import COLLECTION, RevocationKind

#: The earlier collections, each with its kind and the field of the owner.
EARLIER = {
    "revoked_certificates": (RevocationKind.CERTIFICATE, "defender"),
    "revoked_sessions": (RevocationKind.SESSION, ""),
}
BATCH_SIZE = 5000


def upgrade(database: Database[dict[str, object]]) -> None:
    """Copy all earlier revocations. Idempotent."""
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
