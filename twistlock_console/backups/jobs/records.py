"""What became of the work on backups, in the database: the clock of the schedule.

One document for each kind of backup and each other kind of work, that of its latest
run; all nodes see the same, so a new primary goes on where the old one ended.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from pymongo import ReturnDocument

from twistlock_console.backups.format.naming import Kind
from twistlock_console.backups.jobs.schedule import Past
from twistlock_console.backups.operations.dump import Store

COLLECTION = "backup_results"
SCHEDULE = "schedule"
CUT_SHORT = "it was cut short: the node that did it ended, or serves no more"


def last_results(database: Store) -> dict[str, dict[str, Any]]:
    """What became of the latest run of each kind of work.

    The keys are daily, weekly, monthly, manual, restore, verify and upload, as far as
    there was one. The values have *state* (running, done, failed), *began*, *ended*,
    *succeeded* (when it last went well), *error*, *file*, *size* and *bytes* of what
    it was about, *seconds*, *node* and *run*.
    """
    found = database[COLLECTION].find({"_id": {"$ne": SCHEDULE}})
    return {str(each.pop("_id")): each for each in found}


def past(results: dict[str, dict[str, Any]]) -> dict[Kind, Past]:
    """What the schedule needs to know of them."""
    return {
        kind: Past(
            succeeded=found.get("succeeded"),
            failed=found.get("ended") if found["state"] == "failed" else None,
            interrupted=found.get("error") == CUT_SHORT,
        )
        for kind in Kind
        if (found := results.get(kind)) is not None
    }


def since(database: Store, now: datetime) -> datetime:
    """When this Console first thought of backups: *now*, if it never did."""
    found = database[COLLECTION].find_one_and_update(
        {"_id": SCHEDULE},
        {"$setOnInsert": {"since": now}},
        upsert=True,
        return_document=ReturnDocument.AFTER,
    )
    return found["since"] if found else now


def begin(database: Store, keys: Sequence[str], run: str, node: str) -> None:
    """Note that the work called *run* begins."""
    for key in keys:
        wanted = {"state": "running", "run": run, "node": node, "began": _now()}
        database[COLLECTION].update_one({"_id": key}, {"$set": wanted}, upsert=True)


def finish(database: Store, run: str, error: str, result: dict[str, Any]) -> None:
    """Note how the work called *run* ended; *error* is empty if it went well."""
    now = _now()
    wanted = {**result, "state": "failed", "ended": now, "error": error}
    if not error:
        wanted |= {"state": "done", "succeeded": now}
    database[COLLECTION].update_many({"run": run, "state": "running"}, {"$set": wanted})


def note_interrupted(database: Store, ours: str | None) -> None:
    """Mark as failed what seems to run and is not *ours*: its node ended."""
    wanted = {"state": "failed", "ended": _now(), "error": CUT_SHORT}
    seems = {"state": "running", "run": {"$ne": ours}}
    database[COLLECTION].update_many(seems, {"$set": wanted})


def _now() -> datetime:
    return datetime.now(UTC)
