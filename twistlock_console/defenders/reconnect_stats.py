"""When the Defenders came back after a failover."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from pymongo.database import Database

from twistlock_console.defenders.register import COLLECTION


@dataclass(frozen=True, slots=True)
class Returns:
    """The first and the last arrival under an epoch, and how many there were."""

    first: datetime | None
    last: datetime | None
    count: int


def returned(database: Database[dict[str, Any]], epoch: int) -> Returns:
    """Tell of the Defenders whose first connection under *epoch* is on record."""
    found = list(
        database[COLLECTION].aggregate(
            [
                {"$match": {"returned.epoch": epoch}},
                {
                    "$group": {
                        "_id": None,
                        "first": {"$min": "$returned.time"},
                        "last": {"$max": "$returned.time"},
                        "count": {"$sum": 1},
                    }
                },
            ]
        )
    )
    if not found:
        return Returns(None, None, 0)
    return Returns(found[0]["first"], found[0]["last"], found[0]["count"])
