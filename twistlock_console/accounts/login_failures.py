"""Failed logins, kept in the database so that a failover does not forget them.

Only a login that failed is counted. Those that are being checked are not: the hash
queue lets a few be checked at a time, and each looks at the count once more when its
turn comes, so that logins sent at once get hardly more tries than logins in turn.
"""

import re
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
    fewer,
    one_more,
    wait_seconds,
)
from twistlock_console.names import name_key

Documents = Collection[dict[str, Any]]
COLLECTION = "login_failures"
#: Two logins that fail at once write the same count; the later one looks again.
MAX_WRITE_TRIES = 5


class FailureCount:
    """The failed logins that count for *origin*; one object for each login."""

    def __init__(self, database: Database[dict[str, Any]], origin: Origin) -> None:
        self._documents: Documents = database[COLLECTION]
        self.is_known = known_origins.is_known(database, origin)
        self._keys = origin.keys(known=self.is_known)
        self._has_failures = False

    def check(self) -> None:
        """Raise TooManyFailures if the next login of this origin comes too early."""
        found = list(self._documents.find({"_id": {"$in": list(self._keys)}}))
        self._has_failures = bool(found)
        now = datetime.now(UTC)
        wait = max((wait_seconds(_failures(each), now) for each in found), default=0)
        if wait:
            raise TooManyFailures(wait)

    def add(self) -> None:
        """Count one more failure."""
        for key, scope in self._keys.items():
            self._add(key, scope)

    def clear(self) -> None:
        """Forget the failures of the origin's own."""
        if self._has_failures:
            own = [key for key, scope in self._keys.items() if scope is Scope.PAIR]
            self._documents.delete_many({"_id": {"$in": own}})

    def _add(self, key: str, scope: Scope) -> None:
        for _ in range(MAX_WRITE_TRIES):
            found = self._documents.find_one({"_id": key})
            before = _failures(found) if found else None
            after = one_more(before, scope, datetime.now(UTC))
            if _replace(self._documents, key, before, after):
                return
        raise TooManyFailures(1)


def forget(database: Database[dict[str, Any]], username: str) -> None:
    """Forget all failed logins of an account, whichever origins they came from.

    An administrator gave it another password, which is to work at once. What the
    account's failures add to the counts of addresses is taken out of those, too.
    """
    documents = database[COLLECTION]
    begin, end = f"{Scope.PAIR}:", f":{name_key(username)}"
    pairs = {"_id": {"$regex": f"^{begin}.*{re.escape(end)}$"}}
    for found in list(documents.find(pairs)):
        place = found["_id"][len(begin) : -len(end)]
        _discount(documents, f"{Scope.ADDRESS}:{place}", found["count"])
        documents.delete_one({"_id": found["_id"]})
    documents.delete_one({"_id": f"{Scope.ACCOUNT}{end}"})


def _discount(documents: Documents, address: str, count: int) -> None:
    for _ in range(MAX_WRITE_TRIES):
        if (found := documents.find_one({"_id": address})) is None:
            return
        before = _failures(found)
        after = fewer(before, count, Scope.ADDRESS, datetime.now(UTC))
        if _replace(documents, address, before, after):
            return


def _failures(found: dict[str, Any]) -> Failures:
    return Failures(found["count"], found["until"])


def _replace(
    documents: Documents, key: str, before: Failures | None, after: Failures
) -> bool:
    """Store *after* unless the document has changed since *before* was read."""
    fields = {
        "count": after.count,
        "until": after.until,
        "expires": after.until + FORGET_AFTER,
    }
    if before is None:
        try:
            documents.insert_one({"_id": key, **fields})
        except DuplicateKeyError:
            return False
        return True
    unchanged = {"_id": key, "count": before.count, "until": before.until}
    return documents.update_one(unchanged, {"$set": fields}).matched_count == 1
