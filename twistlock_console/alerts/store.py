"""Store the records of alerts and the queue of alerts to send, across failovers.

An alert is queued before it is recorded as reported. A node that ends in between does
both again under the same ids (idempotent): there is one alert, never none and never
two.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

from pymongo import ASCENDING, InsertOne
from pymongo.errors import BulkWriteError

from twistlock_console.alerts.rules import AlertRecord, AlertState, Notice, Problem
from twistlock_console.database.client import Db, Document

ALERTS = "alerts"
QUEUE = "alert_queue"
#: The maximum of queued alerts for a channel; further ones are dropped.
MAX_QUEUED = 1_000
DUPLICATE_KEY = 11000
FAILOVER = "failover"


@dataclass(frozen=True, slots=True)
class QueuedAlert:
    """An alert in the queue of a channel; *created* is when it became due."""

    id: str
    notice: Notice
    created: datetime


def read_records(database: Db) -> dict[str, AlertRecord]:
    """Return the last report of each problem, by its key."""
    found = database[ALERTS].find({"_id": {"$ne": FAILOVER}})
    return {str(each["_id"]): _record(each) for each in found}


def last_alerted_epoch(database: Db) -> int | None:
    """Return the epoch of the last failover that was reported, or None."""
    found = database[ALERTS].find_one({"_id": FAILOVER})
    return int(found["number"]) if found else None


def enqueue(database: Db, notices: Iterable[Notice], channels: Iterable[str]) -> None:
    """Add *notices* to the queue of each channel, then record them as reported."""
    notices, now = tuple(notices), datetime.now(UTC)
    wanted = [
        InsertOne(_to_document(notice, channel, now))
        for channel in channels
        for notice in notices[: _free_places(database, channel)]
    ]
    if wanted:
        _insert(database, wanted)
    for notice in notices:
        _record_notice(database, notice, now)


def record_alerted_epoch(database: Db, epoch: int) -> None:
    """Record that the failover under *epoch* needs no further alert."""
    database[ALERTS].update_one(
        {"_id": FAILOVER}, {"$max": {"number": epoch}}, upsert=True
    )


def read_queue(database: Db, channel: str, most: int) -> list[QueuedAlert]:
    """Return at most *most* queued alerts of *channel*, oldest first."""
    found = database[QUEUE].find({"channel": channel})
    ordered = found.sort([("created", ASCENDING), ("_id", ASCENDING)]).limit(most)
    return [
        QueuedAlert(
            str(each["_id"]),
            Notice(_problem(each), int(each["number"]), AlertState(each["state"])),
            each["created"],
        )
        for each in ordered
    ]


def remove_from_queue(database: Db, delivery: str) -> None:
    """Remove the alert with the id *delivery*, which was delivered or dropped."""
    database[QUEUE].delete_one({"_id": delivery})


def _free_places(database: Db, channel: str) -> int:
    return MAX_QUEUED - database[QUEUE].count_documents(
        {"channel": channel}, limit=MAX_QUEUED
    )


def _insert(database: Db, wanted: list[InsertOne[Document]]) -> None:
    try:
        database[QUEUE].bulk_write(wanted, ordered=False)
    except BulkWriteError as error:
        if any(e["code"] != DUPLICATE_KEY for e in error.details["writeErrors"]):
            raise


def _to_document(notice: Notice, channel: str, now: datetime) -> Document:
    return {
        "_id": f"{channel} {notice.id}",
        "channel": channel,
        "created": now,
        "number": notice.number,
        "state": notice.state,
        **_fields(notice.problem),
    }


def _record_notice(database: Db, notice: Notice, now: datetime) -> None:
    if notice.state is AlertState.HAPPENED:
        record_alerted_epoch(database, notice.number)
        return
    fields = {
        "number": notice.number,
        "open": notice.state is AlertState.RAISED,
        "changed": now,
        **_fields(notice.problem),
    }
    database[ALERTS].replace_one({"_id": notice.problem.key}, fields, upsert=True)


def _fields(problem: Problem) -> dict[str, str]:
    return {
        "kind": problem.kind,
        "subject": problem.subject,
        "sentence": problem.sentence,
    }


def _problem(found: Document) -> Problem:
    return Problem(str(found["kind"]), found["subject"], found["sentence"])


def _record(found: Document) -> AlertRecord:
    return AlertRecord(_problem(found), int(found["number"]), bool(found["open"]))
