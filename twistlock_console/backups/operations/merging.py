"""Merge the collections that a restore must not replace: revocations, accounts.

A restore brings back data, not rights. Anything revoked, deleted, decommissioned or
changed since the backup stays so: see docs/decisions/0015-a-restore-revives-nothing.md.
Each function is idempotent, and runs while the ports are closed.
"""

from collections.abc import Iterator
from itertools import islice
from secrets import randbits

from pymongo.collection import Collection

from twistlock_console.accounts import users
from twistlock_console.database.client import Db, Document
from twistlock_console.defenders import enrolled, event_store, register
from twistlock_console.names import name_key
from twistlock_console.revocation import store
from twistlock_console.revocation.store import RevocationKind
from twistlock_console.stored_formats import upgrade

BATCH_DOCUMENTS = 5000


def merge_collection(database: Db, source: str, target: str) -> tuple[str, ...]:
    """Add the documents of *source* that *target* lacks.

    Returns the accounts that were skipped because they were deleted here.
    """
    loaded, present = database[source], database[target]
    match target:
        case users.COLLECTION:
            deleted = store.read_revoked(database, RevocationKind.ACCOUNT)
            _insert(present, _new_accounts(loaded, present, deleted))
            return tuple(sorted(deleted.intersection(loaded.distinct("_id"))))
        case enrolled.COLLECTION:
            _add_certificates(loaded, present)
            _insert(present, _missing(loaded, present))
        case store.COLLECTION:
            # All sessions of the backup end anyway.
            _insert(
                present,
                _missing(loaded, present, {"kind": {"$ne": RevocationKind.SESSION}}),
            )
        case _:
            _insert(present, _missing(loaded, present))
    return ()


def apply_revocations(database: Db) -> tuple[str, ...]:
    """Apply revocations to the restored data, and end all sessions.

    Returns the Defenders that were skipped because they were decommissioned, or were
    enrolled again since.
    """
    upgrade(database)
    accounts = database[users.COLLECTION]
    # A number that no session has: all users must log in again.
    accounts.update_many({}, {"$set": {"sessionEpoch": 2**40 + randbits(40)}})
    if accounts.find_one({}, {}) is not None:
        users.mark_initialized(database)
    return _remove_decommissioned(database)


def _new_accounts(
    loaded: Collection[Document], present: Collection[Document], deleted: frozenset[str]
) -> Iterator[Document]:
    """Yield the accounts that this Console neither has nor deleted.

    An existing account keeps its password and its role.
    """
    known = {name_key(str(document["_id"])) for document in present.find({}, {})}
    for document in loaded.find():
        name = str(document["_id"])
        if name not in deleted and name_key(name) not in known:
            yield document


def _add_certificates(
    loaded: Collection[Document], present: Collection[Document]
) -> None:
    """Add the certificates that only the backup has to Defenders that both have."""
    ours = {d["_id"]: d["certificates"] for d in present.find({}, {"certificates": 1})}
    for document in loaded.find({"_id": {"$in": list(ours)}}):
        known = {each["serial"] for each in ours[document["_id"]]}
        more = [c for c in document["certificates"] if c["serial"] not in known]
        if more:
            change: Document = {
                "$push": {"certificates": {"$each": more}},
                "$max": {"expires": document["expires"]},
            }
            present.update_one({"_id": document["_id"]}, change)


def _missing(
    loaded: Collection[Document],
    present: Collection[Document],
    wanted: Document | None = None,
) -> Iterator[Document]:
    known = {document["_id"] for document in present.find({}, {"_id": 1})}
    for document in loaded.find(wanted or {}):
        if document["_id"] not in known:
            # A permission to enrol is valid for one day only.
            document.pop("allowed", None)
            yield document


def _insert(present: Collection[Document], documents: Iterator[Document]) -> None:
    while batch := list(islice(documents, BATCH_DOCUMENTS)):
        present.insert_many(batch, ordered=False)


def _remove_decommissioned(database: Db) -> tuple[str, ...]:
    """Remove Defenders with a revoked certificate from the register; return them."""
    revoked = store.read_revoked(database, RevocationKind.CERTIFICATE)
    entries = database[register.COLLECTION]
    names = [
        str(entry["_id"])
        for entry in entries.find({}, {"certificate.serial": 1})
        if entry.get("certificate", {}).get("serial") in revoked
    ]
    entries.delete_many({"_id": {"$in": names}})
    database[event_store.COMPLIANCE].delete_many({"_id": {"$in": names}})
    return tuple(sorted(names))
