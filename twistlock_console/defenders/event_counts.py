"""How many events there were when."""

from datetime import datetime, timedelta
from typing import Any

from pymongo.database import Database
from pymongo.errors import ExecutionTimeout

from twistlock_console.defenders.event_store import COLLECTION

#: More are not counted: a plot needs no more, and a page must not wait.
MOST = 200_000
MOST_MS = 1000


def count_by_time(
    database: Database[dict[str, Any]],
    wanted: dict[str, Any],
    since: datetime,
    step: timedelta,
) -> dict[int, int]:
    """Count what is *wanted* by the number of *steps* after *since*, the latest first.

    It goes by the time of receipt. Gives nothing when it would take too long.
    """
    milliseconds = step / timedelta(milliseconds=1)
    elapsed = {"$subtract": ["$received", since]}
    place = {"$floor": {"$divide": [elapsed, milliseconds]}}
    stages: list[dict[str, Any]] = [
        {"$match": wanted},
        {"$sort": {"received": -1}},
        {"$limit": MOST},
        {"$group": {"_id": place, "count": {"$sum": 1}}},
    ]
    try:
        found = list(database[COLLECTION].aggregate(stages, maxTimeMS=MOST_MS))
    except ExecutionTimeout:
        return {}
    return {int(each["_id"]): int(each["count"]) for each in found}
