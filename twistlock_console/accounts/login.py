"""Log in with a username and a password, and count failed logins (login throttle).

Failures are stored in the database, so that a failover does not reset them. Only failed
logins are counted. The hash queue checks few passwords at a time, and each login reads
the count again when its turn comes: so concurrent logins get hardly more attempts than
sequential ones.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from pydantic import TypeAdapter
from pymongo.collection import Collection
from pymongo.database import Database
from pymongo.errors import DuplicateKeyError

from twistlock_console.accounts import passwords, users
from twistlock_console.accounts.credential_rules import check_password, check_username
from twistlock_console.accounts.errors import TooManyFailures, WrongCredentials
from twistlock_console.accounts.login_settings import read_logon
from twistlock_console.accounts.login_throttle import (
    FAILURE_RETENTION,
    Failures,
    HashCaller,
    Origin,
    Scope,
    add_failure,
    network_of,
    subtract_failures,
    wait_seconds,
)
from twistlock_console.accounts.passwords import Match, PasswordCache
from twistlock_console.accounts.users import User
from twistlock_console.audit import trail
from twistlock_console.audit.trail import AuditEntry, AuditType
from twistlock_console.common.errors import Refused
from twistlock_console.names import name_key

Store = Database[dict[str, object]]
_stored_failures = TypeAdapter(Failures)
Documents = Collection[dict[str, object]]
FAILURES = "login_failures"
#: Concurrent failures write the same count; the later write is retried.
MAX_WRITE_TRIES = 5
KNOWN_ORIGINS = "known_origins"
#: The retention of known origins after the last login.
ORIGIN_RETENTION = timedelta(days=90)
#: The expiry of a known origin is extended at this interval, not at every login.
ORIGIN_REFRESH_INTERVAL = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Attempt:
    """A username and a password, sent from *address* to the path *api*.

    *device* names a browser that logged in to this account before.
    """

    username: str
    password: str
    address: str
    api: str
    device: str = ""

    @property
    def origin(self) -> Origin:
        """Return the origin whose failures the attempt counts for."""
        return Origin(name_key(self.username), self.address, self.device)

    def caller(self, *, is_known: bool, is_login: bool = True) -> HashCaller:
        """Return the attempt as a caller of the hash queue."""
        return HashCaller(network_of(self.address), is_known, is_login)

    def entry(self, status: str, *, failure: bool = False) -> AuditEntry:
        """Return the audit entry for the result *status* of the attempt."""
        return AuditEntry(
            AuditType.LOGIN, self.username, self.address, self.api, status, failure
        )


def sign_up(database: Store, attempt: Attempt) -> User:
    """Create the first administrator. Raises Refused if there is one."""
    if users.is_initialized(database):
        raise Refused(users.ALREADY_INITIALIZED)
    check_username(attempt.username)
    check_password(attempt.password, attempt.username, strong=False)
    hashed = passwords.hash_password(attempt.password, attempt.caller(is_known=False))
    user = users.create_first(database, attempt.username, hashed)
    trail.record(database, attempt.entry("signed up as the first administrator"))
    return user


def log_in(database: Store, attempt: Attempt, cache: PasswordCache) -> User:
    """Log a person in and record it. Raises as `check_credentials` does."""
    user = check_credentials(database, attempt, cache, is_login=True)
    named = replace(attempt, username=user.username)
    trail.record(database, named.entry("successful login attempt"))
    return user


def check_credentials(
    database: Store,
    attempt: Attempt,
    cache: PasswordCache,
    *,
    is_login: bool = False,
) -> User:
    """Return the user if the password is right; record failures in the audit trail.

    A password that is in *cache* is not hashed again, so that a program that logs
    in often, or sends its password with every call, takes no turn of the hash queue.

    Raises:
        WrongCredentials: the username or the password is wrong.
        TooManyFailures: logins of this origin failed too often, and this one is early.
        Busy: too many passwords are being checked.

    """
    failures = FailureCount(database, attempt.origin)
    failures.check()
    user = _find_cached(database, attempt, cache)
    if user is None:
        caller = attempt.caller(is_known=failures.is_known, is_login=is_login)
        with passwords.queue.slot(caller):
            user = _check_in_slot(database, attempt, cache, failures)
    failures.clear()
    return user


def _find_cached(
    database: Store, attempt: Attempt, cache: PasswordCache
) -> User | None:
    """Return the user if the password is in the cache."""
    user = users.find(database, attempt.username)
    is_right = user is not None and cache.contains(user, attempt.password)
    return user if is_right else None


def _check_in_slot(
    database: Store,
    attempt: Attempt,
    cache: PasswordCache,
    failures: "FailureCount",
) -> User:
    # Other logins may have failed, or cached this password, while this one waited.
    failures.check()
    if user := _find_cached(database, attempt, cache):
        return user
    user = users.find(database, attempt.username)
    stored = user.password_hash if user else None
    match = passwords.match_in_slot(stored, attempt.password)
    if match is Match.NO or user is None:
        failures.add()
        trail.record(database, attempt.entry("failed login attempt", failure=True))
        raise WrongCredentials
    if match is Match.EARLIER_FORM:
        again = passwords.hash_in_slot(attempt.password)
        user = users.replace_hash(database, user, again)
    cache.add(user, attempt.password)
    remember_origin(database, attempt.origin)
    return user


def change_password(
    database: Store, attempt: Attempt, new: str, cache: PasswordCache
) -> User:
    """Replace the password in *attempt* by *new*; end the user's sessions."""
    check_credentials(database, attempt, cache)
    strong = read_logon(database).strong_password
    check_password(new, attempt.username, strong=strong)
    user = users.set_password(database, attempt.username, passwords.hash_password(new))
    trail.record(
        database,
        AuditEntry(
            AuditType.PROFILE,
            attempt.username,
            attempt.address,
            attempt.api,
            "changed the password",
        ),
    )
    return user


class FailureCount:
    """Counts the failed logins of *origin* in the database; one object per login."""

    def __init__(self, database: Store, origin: Origin) -> None:
        self._documents: Documents = database[FAILURES]
        self.is_known = is_known_origin(database, origin)
        self._keys = origin.keys(known=self.is_known)
        self._has_failures = False

    def check(self) -> None:
        """Raise TooManyFailures if the origin must still wait."""
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
        """Delete the failures of the origin's pair of account and address or device."""
        if self._has_failures:
            own = [key for key, scope in self._keys.items() if scope is Scope.PAIR]
            self._documents.delete_many({"_id": {"$in": own}})

    def _add(self, key: str, scope: Scope) -> None:
        for _ in range(MAX_WRITE_TRIES):
            found = self._documents.find_one({"_id": key})
            before = _failures(found) if found else None
            after = add_failure(before, scope, datetime.now(UTC))
            if _replace_count(self._documents, key, before, after):
                return
        raise TooManyFailures(1)


def forget_failures(database: Store, username: str) -> None:
    """Delete the failed logins of an account from all origins.

    A password that an administrator sets must work at once. The failures of the account
    are subtracted from the counts of addresses, too.
    """
    documents = database[FAILURES]
    begin, end = f"{Scope.PAIR}:", f":{name_key(username)}"
    pairs = {"_id": {"$regex": f"^{begin}.*{re.escape(end)}$"}}
    for found in list(documents.find(pairs)):
        place = str(found["_id"])[len(begin) : -len(end)]
        _discount(documents, f"{Scope.ADDRESS}:{place}", _failures(found).count)
        documents.delete_one({"_id": found["_id"]})
    documents.delete_one({"_id": f"{Scope.ACCOUNT}{end}"})


def _discount(documents: Documents, address: str, count: int) -> None:
    for _ in range(MAX_WRITE_TRIES):
        if (found := documents.find_one({"_id": address})) is None:
            return
        before = _failures(found)
        after = subtract_failures(before, count, Scope.ADDRESS, datetime.now(UTC))
        if _replace_count(documents, address, before, after):
            return


def _failures(found: Mapping[str, object]) -> Failures:
    return _stored_failures.validate_python(found)


def _replace_count(
    documents: Documents, key: str, before: Failures | None, after: Failures
) -> bool:
    """Store *after* if the document still equals *before* (compare and set)."""
    fields = {
        "count": after.count,
        "until": after.until,
        "expires": after.until + FAILURE_RETENTION,
    }
    if before is None:
        try:
            documents.insert_one({"_id": key, **fields})
        except DuplicateKeyError:
            return False
        return True
    unchanged = {"_id": key, "count": before.count, "until": before.until}
    return documents.update_one(unchanged, {"$set": fields}).matched_count == 1


def is_known_origin(database: Store, origin: Origin) -> bool:
    """Return whether the device or the address has logged in to the account before."""
    if origin.device:
        return True
    return database[KNOWN_ORIGINS].find_one({"_id": _origin_key(origin)}) is not None


def remember_origin(database: Store, origin: Origin) -> None:
    """Store the origin of a successful login for ORIGIN_RETENTION."""
    now = datetime.now(UTC)
    key, fresh = (
        _origin_key(origin),
        {"$gte": now + ORIGIN_RETENTION - ORIGIN_REFRESH_INTERVAL},
    )
    if database[KNOWN_ORIGINS].find_one({"_id": key, "expires": fresh}) is None:
        database[KNOWN_ORIGINS].replace_one(
            {"_id": key}, {"expires": now + ORIGIN_RETENTION}, upsert=True
        )


def _origin_key(origin: Origin) -> str:
    return f"{network_of(origin.address)}:{origin.username}"
