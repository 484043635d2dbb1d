"""Failed logins, kept in the database so that a failover does not forget them."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from pymongo.collection import Collection
from pymongo.database import Database
from pymongo.errors import DuplicateKeyError

from twistlock_console.accounts import known_origins
from twistlock_console.accounts.errors import TooManyFailures
from twistlock_console.accounts.login_throttle import (
    FORGET_AFTER,
    Failures,
    Origin,
    Scope,
    one_more,
    wait_seconds,
)

Documents = Collection[dict[str, Any]]
COLLECTION = "login_failures"


@dataclass(frozen=True, slots=True)
class _Counted:
    """A failure that was written before its attempt."""

    key: str
    scope: Scope
    before: Failures | None
    after: Failures


@contextmanager
def counted(database: Database[dict[str, Any]], origin: Origin) -> Iterator[None]:
    """Count the attempt inside as failed if it raises.

    The failure is written before the attempt and taken back after a success: many
    attempts at one time cannot all pass before the first is counted. Raises
    TooManyFailures when this attempt comes too early.
    """
    documents = database[COLLECTION]
    known = known_origins.knows(database, origin)
    done: list[_Counted] = []
    try:
        for key, scope in origin.keys(known=known).items():
            done.append(_count(documents, key, scope))
    except TooManyFailures:
        _take_back(documents, done)
        raise
    yield
    _take_back(documents, done)
    documents.delete_many(
        {"_id": {"$in": [each.key for each in done if each.scope is Scope.PAIR]}}
    )
    known_origins.remember(database, origin)


def _count(documents: Documents, key: str, scope: Scope) -> _Counted:
    for _ in range(5):
        now = datetime.now(UTC)
        seen = _read(documents, key)
        if wait := wait_seconds(seen, now):
            raise TooManyFailures(wait)
        after = one_more(seen, scope, now)
        if _swap(documents, key, seen, after):
            return _Counted(key, scope, seen, after)
    raise TooManyFailures(1)


def _take_back(documents: Documents, done: list[_Counted]) -> None:
    """Undo what was counted; a wait that others caused since stays."""
    for each in done:
        before = each.before or Failures(0, datetime.now(UTC))
        if not _swap(documents, each.key, each.after, before):
            less = {"$inc": {"count": -1}}
            documents.update_one({"_id": each.key, "count": {"$gt": 0}}, less)


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
