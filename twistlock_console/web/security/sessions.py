"""Sessions of requests: start, lookup, renewal and end.

Pages carry it in a cookie, which Flask-Login reads; API calls carry it in a token.
"""

import time
from threading import Lock
from typing import cast

from cachetools import TTLCache, cachedmethod
from flask import Flask, current_app, g, request, session
from flask_login import LoginManager, login_user
from flask_login import current_user as login_user_of_request

from twistlock_console.accounts import sessions, users
from twistlock_console.accounts.login_settings import LogonSettings, read_logon
from twistlock_console.accounts.sessions import Session, SessionAge
from twistlock_console.accounts.users import User
from twistlock_console.common import clock
from twistlock_console.web.common.database import database

MAX_SETTINGS_AGE_NS = 3 * clock.SECOND
SESSION_COOKIE_KEY = "login"


class LoginUser:
    """Adapter of a user to the interface of Flask-Login."""

    is_authenticated = True
    is_active = True
    is_anonymous = False

    def __init__(self, user: User) -> None:
        self.user = user

    def get_id(self) -> str:
        """Return what Flask-Login stores in the cookie."""
        return self.user.username


def init_app(app: Flask) -> None:
    """Make Flask-Login load the user whose cookie a request carries."""
    manager = LoginManager()
    # Its check of the address would log people out when the load balancer changes.
    manager.session_protection = None
    # Templates ask for the user themselves: an error page must not need the database.
    manager.init_app(app, add_context_processor=False)
    # We set no such cookie. The check for it would read the session for every answer,
    # and browsers would cache static files for one state of the session only.
    app.after_request_funcs[None].remove(manager._update_remember_cookie)
    manager.user_loader(_load_user)


def start_session(user: User) -> None:
    """Log *user* in with a new session; discard everything of the old one."""
    session.clear()
    _write_session(Session.start(user, now()))
    login_user(LoginUser(user))


def end_session() -> None:
    """Log the present user out: revoke the session, also in copies of its cookie."""
    if found := _read_session():
        sessions.revoke_session(database(), found.id)
    session.clear()


def renew_session() -> None:
    """Restart the inactivity timeout, except for a page that refreshes itself."""
    found = _read_session()
    timeout = logon_settings_cache().get().session_timeout_sec
    if found is None or "HX-Request" in request.headers:
        return
    if sessions.session_age(found, now(), timeout) is SessionAge.RENEW:
        _write_session(found.renewed(now()))


def session_user() -> User | None:
    """Return the user whose valid session the request carries; None without one."""
    found = login_user_of_request
    return cast(LoginUser, found).user if found.is_authenticated else None


def current_user() -> User:
    """Return the user that a guard has admitted to this request."""
    return cast(User, g.account)


def current_username() -> str:
    """Return the name of the user that a guard has admitted to this request."""
    return current_user().username


def find_session_user(found: Session) -> User | None:
    """Return the user of a session; None if it is expired, revoked or outdated."""
    timeout = logon_settings_cache().get().session_timeout_sec
    if sessions.session_age(found, now(), timeout) is SessionAge.EXPIRED:
        return None
    user = users.find(database(), found.username)
    if user is None or user.session_epoch != found.epoch:
        return None
    return None if sessions.is_session_revoked(database(), found.id) else user


def now() -> int:
    """Return Unix time in whole seconds, the unit of times in tokens."""
    return int(time.time())


def token_key() -> bytes:
    """Return the key that signs tokens."""
    return cast(bytes, current_app.extensions["token_key"])


class LogonSettingsCache:
    """Cache of the logon settings, for all request threads; entries live 3 s."""

    def __init__(self) -> None:
        self._cache = TTLCache[object, LogonSettings](
            1, MAX_SETTINGS_AGE_NS, timer=clock.boottime_ns
        )
        self._lock = Lock()

    # Reads without the lock: a silent database must not make requests queue.
    @cachedmethod(lambda self: self._cache, lock=lambda self: self._lock)
    def get(self) -> LogonSettings:
        """Return the settings; they may be 3 s old."""
        return read_logon(database())

    def invalidate(self) -> None:
        """Discard the cached settings, because they have changed."""
        with self._lock:
            self._cache.clear()


def logon_settings_cache() -> LogonSettingsCache:
    """Return the application's one LogonSettingsCache."""
    return cast(LogonSettingsCache, current_app.extensions["logon"])


def _load_user(username: str) -> LoginUser | None:
    found = _read_session()
    if found is None or found.username != username:
        return None
    user = find_session_user(found)
    return LoginUser(user) if user else None


def _write_session(new: Session) -> None:
    session[SESSION_COOKIE_KEY] = [new.id, new.username, new.epoch, new.issued]


def _read_session() -> Session | None:
    part = session.get(SESSION_COOKIE_KEY)
    return Session(*part) if part else None
