"""Whose session a request carries, and whether it is alive."""

import time
from threading import Lock
from typing import cast

from flask import current_app, g

from twistlock_console.accounts import users
from twistlock_console.accounts.login_settings import LogonSettings, read_logon
from twistlock_console.accounts.session_revocations import is_revoked
from twistlock_console.accounts.sessions import Age, Session, age
from twistlock_console.accounts.users import User
from twistlock_console.common import clock
from twistlock_console.web.common.database import database

SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
FRESH_NS = 3 * clock.SECOND


class LogonCache:
    """The logon settings, read again after three seconds."""

    def __init__(self) -> None:
        self._settings = LogonSettings()
        self._until = 0
        self._lock = Lock()

    def get(self) -> LogonSettings:
        """Give the settings; they may be three seconds old."""
        with self._lock:
            if clock.boottime_ns() < self._until:
                return self._settings
        # Not under the lock: a silent database must not make requests queue.
        settings = read_logon(database())
        with self._lock:
            self._settings = settings
            self._until = clock.boottime_ns() + FRESH_NS
        return settings

    def forget(self) -> None:
        """Read the settings anew next time: they have changed."""
        with self._lock:
            self._until = 0


def logon_cache() -> LogonCache:
    """Give the application's one LogonCache."""
    return cast(LogonCache, current_app.extensions["logon"])


def now() -> int:
    """Unix time in whole seconds, as tokens carry it."""
    return int(time.time())


def user_of(session: Session) -> User | None:
    """Give the user of *session*; nothing when it has ended in any way."""
    timeout = logon_cache().get().session_timeout_sec
    if age(session, now(), timeout) is Age.OVER:
        return None
    user = users.find(database(), session.username)
    if user is None or user.session_epoch != session.epoch:
        return None
    return None if is_revoked(database(), session.id) else user


def current_user() -> User:
    """Give the user that a guard has admitted to this request."""
    return cast(User, g.account)


def current_username() -> str:
    """Give the name of the user that a guard has admitted to this request."""
    return current_user().username
