"""Logging in with a username and a password, and changing the password."""

from dataclasses import dataclass, replace
from typing import Any

from pymongo.database import Database

from twistlock_console.accounts import known_origins, passwords, users
from twistlock_console.accounts.credential_rules import check_password, check_username
from twistlock_console.accounts.errors import WrongCredentials
from twistlock_console.accounts.hash_order import Caller
from twistlock_console.accounts.login_failures import FailureCount
from twistlock_console.accounts.login_settings import read_logon
from twistlock_console.accounts.login_throttle import Origin, network_of
from twistlock_console.accounts.password_cache import Remembered
from twistlock_console.accounts.passwords import Match
from twistlock_console.accounts.users import User
from twistlock_console.audit import trail
from twistlock_console.audit.trail import AuditType, Entry
from twistlock_console.common.errors import Refused
from twistlock_console.names import name_key

Store = Database[dict[str, Any]]


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
        """By what its failure is counted: the name in whatever case is one account."""
        return Origin(name_key(self.username), self.address, self.device)

    def caller(self, *, is_known: bool, is_login: bool = True) -> Caller:
        """Return how the attempt waits in the hash queue."""
        return Caller(network_of(self.address), is_known, is_login)

    def entry(self, status: str, *, failure: bool = False) -> Entry:
        """Describe how the attempt ended, for the audit trail."""
        return Entry(
            AuditType.LOGIN, self.username, self.address, self.api, status, failure
        )


def sign_up(database: Store, attempt: Attempt) -> User:
    """Create the first administrator; raises Refused if there is one."""
    if users.is_initialized(database):
        raise Refused(users.ALREADY_INITIALIZED)
    check_username(attempt.username)
    check_password(attempt.password, attempt.username, strong=False)
    hashed = passwords.hash_password(attempt.password, attempt.caller(is_known=False))
    user = users.create_first(database, attempt.username, hashed)
    trail.record(database, attempt.entry("signed up as the first administrator"))
    return user


def log_in(database: Store, attempt: Attempt, remembered: Remembered) -> User:
    """Let a person in; raises WrongCredentials, TooManyFailures or Busy."""
    user = check(database, attempt, remembered, is_login=True)
    named = replace(attempt, username=user.username)
    trail.record(database, named.entry("successful login attempt"))
    return user


def check(
    database: Store,
    attempt: Attempt,
    remembered: Remembered,
    *,
    is_login: bool = False,
) -> User:
    """Return the user whose password this is; only failures enter the audit trail.

    A password that is *remembered* is not hashed again, so that a program that logs
    in often, or sends its password with every call, takes no turn of the hash queue.

    Raises WrongCredentials; TooManyFailures when logins of this origin failed too often
    and this one is too early; Busy when too many passwords are being checked.
    """
    failures = FailureCount(database, attempt.origin)
    failures.check()
    user = _find_remembered(database, attempt, remembered)
    if user is None:
        caller = attempt.caller(is_known=failures.is_known, is_login=is_login)
        with passwords.queue.slot(caller):
            user = _check_in_slot(database, attempt, remembered, failures)
    failures.clear()
    return user


def _find_remembered(
    database: Store, attempt: Attempt, remembered: Remembered
) -> User | None:
    """Return the user if this password was right a moment ago."""
    user = users.find(database, attempt.username)
    is_right = user is not None and remembered.knows(user, attempt.password)
    return user if is_right else None


def _check_in_slot(
    database: Store, attempt: Attempt, remembered: Remembered, failures: FailureCount
) -> User:
    # Others may have failed, or had the same password checked, while this one waited.
    failures.check()
    if user := _find_remembered(database, attempt, remembered):
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
    remembered.add(user, attempt.password)
    known_origins.remember(database, attempt.origin)
    return user


def change_password(
    database: Store, attempt: Attempt, new: str, remembered: Remembered
) -> User:
    """Replace the password in *attempt* by *new* and end the user's sessions."""
    check(database, attempt, remembered)
    strong = read_logon(database).strong_password
    check_password(new, attempt.username, strong=strong)
    user = users.set_password(database, attempt.username, passwords.hash_password(new))
    trail.record(
        database,
        Entry(
            AuditType.PROFILE,
            attempt.username,
            attempt.address,
            attempt.api,
            "changed the password",
        ),
    )
    return user
