"""Failed logins, kept in the database so that a failover does not forget them."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

from pymongo.collection import Collection
from pymongo.database import Database
from pymongo.errors import DuplicateKeyError

from twistlock_console.accounts.errors import TooManyFailures
from twistlock_console.accounts.slowdown import (
    FORGET_AFTER,
    Failures,
    Scope,
    one_more,
    wait_seconds,
)

Documents = Collection[dict[str, Any]]
COLLECTION = "login_failures"


@contextmanager
def counted(
    database: Database[dict[str, Any]], username: str, address: str
) -> Iterator[None]:
    """Count the attempt inside as failed if it raises.

    The failure is written before the attempt and taken back after a success: many
    attempts at one time cannot all pass before the first is counted. Raises
    TooManyFailures when this attempt comes too early.
    """
    documents = database[COLLECTION]
    account = f"{Scope.ACCOUNT}:{address}:{username}"
    from_here = f"{Scope.ADDRESS}:{address}"
    _count(documents, account, Scope.ACCOUNT)
    try:
        _count(documents, from_here, Scope.ADDRESS)
    except TooManyFailures:
        _take_back(documents, account)
        raise
    yield
    _take_back(documents, from_here)
    documents.delete_one({"_id": account})


def _count(documents: Documents, key: str, scope: Scope) -> None:
    for _ in range(5):
        now = datetime.now(UTC)
        seen = _read(documents, key)
        if wait := wait_seconds(seen, now):
            raise TooManyFailures(wait)
        if _swap(documents, key, seen, one_more(seen, scope, now)):
            return
    raise TooManyFailures(1)


def _read(documents: Documents, key: str) -> Failures | None:
    found = documents.find_one({"_id": key})
    return Failures(found["count"], found["until"]) if found else None


def _swap(documents: Documents, key: str, seen: Failures | None, new: Failures) -> bool:
    fields = {
        "count": new.count,
        "until": new.until,
        "expires": new.until + FORGET_AFTER,
    }
    if seen is None:
        try:
            documents.insert_one({"_id": key, **fields})
        except DuplicateKeyError:
            return False
        return True
    unchanged = {"_id": key, "count": seen.count, "until": seen.until}
    return documents.update_one(unchanged, {"$set": fields}).matched_count == 1


def _take_back(documents: Documents, key: str) -> None:
    change = {"$inc": {"count": -1}, "$set": {"until": datetime.now(UTC)}}
    documents.update_one({"_id": key, "count": {"$gt": 0}}, change)
