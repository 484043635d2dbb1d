"""The journal of restores in the database: start, commit, complete, fail."""

import logging
from collections.abc import Sequence
from datetime import datetime

from pymongo.errors import PyMongoError
from pymongo.read_concern import ReadConcern

from twistlock_console.audit import trail
from twistlock_console.audit.trail import AuditEntry, AuditType
from twistlock_console.backups.format.manifest import is_leftover, temporary
from twistlock_console.backups.operations.merging import (
    apply_revocations,
    merge_collection,
)
from twistlock_console.backups.operations.restore_plan import (
    AUDITS,
    MAX_CLOCK_DIFFERENCE,
    Add,
    Journal,
    Rename,
    RestoreState,
    active_run,
    steps,
)
from twistlock_console.common.error_text import describe_error
from twistlock_console.common.errors import DatabaseError, Refused
from twistlock_console.database.client import Db, Document

COLLECTION = "backup_journal"
JOURNAL_ID = "restore"
INTERRUPTED = (
    "the restore was interrupted before it took effect, and nothing was changed; "
    "restore again"
)
#: The audit record lists at most so many skipped names.
MAX_NAMES_IN_STATUS = 10
log = logging.getLogger(__name__)


def read(database: Db) -> Journal | None:
    """Return the journal of the latest restore, from our own member."""
    local = database[COLLECTION].with_options(read_concern=ReadConcern("local"))
    found = local.find_one({"_id": JOURNAL_ID})
    return Journal.from_document(found) if found else None


def refuse_if_running(database: Db) -> None:
    """Raise Refused while a restore is running."""
    before = read(database)
    if before is not None and before.state in (
        RestoreState.LOADING,
        RestoreState.SWITCHING,
    ):
        raise Refused("a restore is running already; wait until it has ended")


def begin(database: Db, journal: Journal) -> None:
    """Record that *journal* loads; raises Refused while another restore is running."""
    refuse_if_running(database)
    database[COLLECTION].replace_one(
        {"_id": JOURNAL_ID},
        {
            "run": journal.run,
            "state": RestoreState.LOADING,
            "file": journal.file,
            "by": journal.by,
            "began": journal.began,
        },
        upsert=True,
    )


def commit(database: Db, run: str, collections: list[str]) -> None:
    """Commit the restore: the new data is valid from now on, on a majority.

    Raises Refused if the restore was marked as failed in the meantime.
    """
    wanted = {"state": RestoreState.SWITCHING, "collections": collections}
    if not _move(database, run, RestoreState.LOADING, wanted):
        raise Refused(INTERRUPTED)


def fail(database: Db, run: str, reason: str) -> None:
    """Mark the restore as failed, unless it was committed."""
    _move(
        database,
        run,
        RestoreState.LOADING,
        {"state": RestoreState.FAILED, "reason": reason},
    )


def complete(database: Db) -> str | None:
    """Complete a committed restore; return its file, or None if there was none.

    For the primary while its ports are closed. Idempotent. Raises DatabaseError.
    """
    try:
        journal = read(database)
        if journal is None or journal.state is not RestoreState.SWITCHING:
            return None
        log.warning("replacing the data with the backup %s", journal.file)
        accounts = _execute_steps(database, journal)
        defenders = apply_revocations(database)
        trail.record(database, _audit_entry(journal, accounts, defenders))
        _move(
            database, journal.run, RestoreState.SWITCHING, {"state": RestoreState.DONE}
        )
    except PyMongoError as error:
        why = describe_error(error)
        raise DatabaseError(f"the restore cannot be completed yet: {why}") from error
    log.warning("the backup %s took effect", journal.file)
    return journal.file


def sweep(database: Db, ours: str | None) -> None:
    """Mark a killed restore as failed, and drop the collections that it loaded.

    *ours* is the id of the restore that runs in this node now. Only for the primary.
    """
    journal = read(database)
    needed = active_run(journal, ours)
    if journal and journal.state is RestoreState.LOADING and needed is None:
        log.warning("%s: %s", journal.file, INTERRUPTED)
        fail(database, journal.run, INTERRUPTED)
    for name in database.list_collection_names():
        if is_leftover(name, needed):
            database.drop_collection(name)


def keep_audits(database: Db, run: str, since: datetime | None = None) -> None:
    """Add this Console's audit records, those *since* a time, to the backup's."""
    stages: list[Document] = [
        {"$match": {"time": {"$gte": since}} if since else {}},
        {
            "$merge": {
                "into": temporary(run, AUDITS),
                "on": "_id",
                "whenMatched": "keepExisting",
                "whenNotMatched": "insert",
            }
        },
    ]
    database[AUDITS].aggregate(stages)


def _execute_steps(database: Db, journal: Journal) -> tuple[str, ...]:
    """Execute all steps; return the accounts that were skipped."""
    skipped: tuple[str, ...] = ()
    for step in steps(journal, database.list_collection_names()):
        match step:
            case Rename(source, target):
                if target == AUDITS:
                    keep_audits(
                        database, journal.run, journal.began - MAX_CLOCK_DIFFERENCE
                    )
                database[source].rename(target, dropTarget=True)
            case Add(source, target):
                skipped += merge_collection(database, source, target)
                database.drop_collection(source)
            case _:
                database.drop_collection(step.collection)
    return skipped


def _move(database: Db, run: str, state: RestoreState, wanted: Document) -> bool:
    done = database[COLLECTION].update_one(
        {"_id": JOURNAL_ID, "run": run, "state": state}, {"$set": wanted}
    )
    return done.matched_count == 1


def _audit_entry(
    journal: Journal, accounts: Sequence[str], defenders: Sequence[str]
) -> AuditEntry:
    status = f"restored the backup {journal.file}"
    if accounts:
        status += f"; deleted accounts stay deleted: {_first(accounts)}"
    if defenders:
        status += f"; revoked Defenders stay revoked: {_first(defenders)}"
    return AuditEntry(
        type=AuditType.BACKUP,
        username=journal.by,
        source_ip="",
        api="restore",
        status=status,
    )


def _first(names: Sequence[str]) -> str:
    """Return the first MAX_NAMES_IN_STATUS of *names*, and the number of others."""
    more = len(names) - MAX_NAMES_IN_STATUS
    return ", ".join(names[:MAX_NAMES_IN_STATUS]) + (
        f" and {more} more" if more > 0 else ""
    )
