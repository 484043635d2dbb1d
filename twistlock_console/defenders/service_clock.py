"""The seconds for which a Console has served, all nodes and epochs together.

By it the absence of a Defender is measured: it stands still while no Console serves,
so that an outage of ours counts against nobody, and no host's clock matters.
"""

from typing import Any

from pymongo import ReturnDocument
from pymongo.database import Database

from twistlock_console.common.clock import SECOND, boottime_ns

COLLECTION = "defender_clock"


class ServiceClock:
    """Advanced by the one process that serves Defenders, at each *tick*."""

    def __init__(self) -> None:
        self._ticked = boottime_ns()
        self._total = 0.0

    def tick(self, database: Database[dict[str, Any]]) -> float:
        """Add the time since the last tick, and give the seconds in all."""
        now = boottime_ns()
        found = database[COLLECTION].find_one_and_update(
            {"_id": "console"},
            {"$inc": {"seconds": (now - self._ticked) / SECOND}},
            upsert=True,
            return_document=ReturnDocument.AFTER,
        )
        self._ticked = now
        self._total = float((found or {})["seconds"])
        return self._total

    def now(self) -> float:
        """Give the seconds in all, without asking the database."""
        return self._total + (boottime_ns() - self._ticked) / SECOND
