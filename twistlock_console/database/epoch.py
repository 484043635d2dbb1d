"""Load and raise the stored epoch, the fencing token of the serving node.

Defenders obey no Console with a lower epoch than they have seen. The epoch is part of
the lease of high availability. A Console without high availability serves under the
stored epoch, and one that was restored on a new host under a higher one.
"""

from twistlock_console.database.client import Db

COLLECTION = "lease"
LEASE_ID = "console"
#: Far above any epoch that the lost cluster can have reached since the backup.
RESTORED_EPOCH_MARGIN = 1_000_000


def load_epoch(database: Db) -> int:
    """Return the highest epoch in which this Console has served; 0 if none is known."""
    found = database[COLLECTION].find_one({"_id": LEASE_ID})
    return int(found["epoch"]) if found else 0


def raise_epoch(database: Db, lost: int) -> None:
    """Store an epoch above *lost*, the epoch of a Console that no longer exists."""
    if load_epoch(database) >= lost:
        return
    database[COLLECTION].update_one(
        {"_id": LEASE_ID},
        {
            "$set": {"epoch": lost + RESTORED_EPOCH_MARGIN, "released": True},
            "$setOnInsert": {"holder": "", "seq": 0, "ttl": 0, "token": ""},
        },
        upsert=True,
    )
