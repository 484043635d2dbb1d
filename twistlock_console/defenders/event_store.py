"""Store the events of Defenders, idempotently and with a retention of 30 days."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta

import bson
from bson.raw_bson import RawBSONDocument
from pydantic import TypeAdapter
from pymongo import ASCENDING, IndexModel, UpdateOne
from pymongo.database import Database
from pymongo.errors import BulkWriteError, ExecutionTimeout

from twistlock_console.defenders.event_quota import DroppedEvents, dropped_updates
from twistlock_console.protocol import ComplianceEvent, Event
from twistlock_console.protocol.findings import event_members

COLLECTION = "defender_events"
COMPLIANCE = "defender_compliance"
RETENTION_S = 30 * 86_400
DUPLICATE_KEY = 11000
#: The maximum of counted events: a plot needs no more, and a page must not wait.
MAX_COUNTED = 200_000
COUNT_TIMEOUT_MS = 1000
Documents = Database[dict[str, object]]
_counts: TypeAdapter[dict[int, int]] = TypeAdapter(dict[int, int])

#: `_id` is "defender/number", which identifies repeated events. The lists of events
#: define further indexes.
INDEXES = [IndexModel([("received", ASCENDING)], expireAfterSeconds=RETENTION_S)]

#: Indexes of an earlier release, whose lists were sorted by the time on the host.
OBSOLETE_INDEXES = frozenset(
    {
        "kind_1_time_1__id_1",
        "kind_1_defender_1_time_1__id_1",
        "kind_1_rule_1_time_1__id_1",
        "kind_1_effect_1_time_1__id_1",
    }
)


def drop_obsolete_indexes(database: Documents) -> None:
    """Drop unused indexes, which cost time at each write."""
    present = database[COLLECTION].index_information()
    for name in OBSOLETE_INDEXES & present.keys():
        database[COLLECTION].drop_index(name)
    if "time_1__id_1" in database[COMPLIANCE].index_information():
        database[COMPLIANCE].drop_index("time_1__id_1")


def add_times_of_receipt(database: Documents) -> None:
    """Add a time of receipt to check results that an earlier release stored."""
    time = {"$min": ["$time", "$$NOW"]}
    database[COMPLIANCE].update_many(
        {"received": {"$exists": False}}, [{"$set": {"received": time}}]
    )


def encode_documents(defender: str, events: Iterable[Event]) -> list[RawBSONDocument]:
    """Return *events* as encoded documents, whose size in bytes is then known."""
    received = datetime.now(UTC)
    return [
        RawBSONDocument(
            bson.encode(
                {
                    "_id": f"{defender}/{event.number}",
                    "defender": defender,
                    "received": received,
                    **event_members(event),
                }
            )
        )
        for event in events
    ]


def store_events(
    database: Documents,
    documents: Sequence[RawBSONDocument],
    dropped: Sequence[DroppedEvents] = (),
) -> list[int]:
    """Store *documents*; return the indexes of those that were stored before.

    Return when a majority has all of them. MongoDB waits for the majority even if it
    finds a duplicate, so a duplicate is stored. Count the *dropped* events.

    Raises:
        PyMongoError: a document may not be stored.

    """
    duplicates = _insert(database, documents) if documents else []
    if dropped:
        database[COLLECTION].bulk_write(dropped_updates(dropped), ordered=False)
    return duplicates


def _insert(database: Documents, documents: Sequence[RawBSONDocument]) -> list[int]:
    try:
        database[COLLECTION].insert_many(documents, ordered=False)
    except BulkWriteError as error:
        failed = error.details["writeErrors"]
        if error.details["writeConcernErrors"] or any(
            each["code"] != DUPLICATE_KEY for each in failed
        ):
            raise
        return [int(each["index"]) for each in failed]
    return []


def store_compliance(
    database: Documents, defender: str, runs: Iterable[ComplianceEvent]
) -> None:
    """Store the latest run of the checks of the Defender."""
    updates = [
        UpdateOne(
            {"_id": defender},
            [{"$replaceWith": {"$cond": [_older(run), {"$literal": doc}, "$$ROOT"]}}],
            upsert=True,
        )
        for run in runs
        for doc in [_compliance(defender, run)]
    ]
    if updates:
        database[COMPLIANCE].bulk_write(updates)


def _older(run: ComplianceEvent) -> dict[str, object]:
    return {"$lte": ["$number", run.number]}


def _compliance(defender: str, run: ComplianceEvent) -> dict[str, object]:
    members = event_members(run)
    failed = [result for result in run.results if not result.passed]
    return {
        "_id": defender,
        "time": run.time,
        "received": datetime.now(UTC),
        "rule": run.rule,
        "number": run.number,
        "results": members["results"],
        "failed": len(failed),
        "checks": len(run.results),
        "severe": sum(each.severity in {"high", "critical"} for each in failed),
    }


def count_by_time(
    database: Documents,
    wanted: Mapping[str, object],
    since: datetime,
    step: timedelta,
) -> dict[int, int]:
    """Count the *wanted* events by the number of *steps* after *since*, latest first.

    The time of receipt counts. Return nothing if the query takes too long.
    """
    milliseconds = step / timedelta(milliseconds=1)
    elapsed = {"$subtract": ["$received", since]}
    place = {"$floor": {"$divide": [elapsed, milliseconds]}}
    stages: list[Mapping[str, object]] = [
        {"$match": wanted},
        {"$sort": {"received": -1}},
        {"$limit": MAX_COUNTED},
        {"$group": {"_id": place, "count": {"$sum": 1}}},
    ]
    try:
        found = list(database[COLLECTION].aggregate(stages, maxTimeMS=COUNT_TIMEOUT_MS))
    except ExecutionTimeout:
        return {}
    return _counts.validate_python({each["_id"]: each["count"] for each in found})
