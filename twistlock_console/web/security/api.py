"""Who may call the API: HTTP Basic or a bearer token, and never a cookie."""

from functools import partial
from typing import cast

from flask import Blueprint, current_app, g, request
from flask.blueprints import BlueprintSetupState
from flask_wtf.csrf import CSRFProtect

from twistlock_console.accounts import login
from twistlock_console.accounts.errors import NotLoggedIn
from twistlock_console.accounts.login import Attempt
from twistlock_console.accounts.password_cache import Remembered
from twistlock_console.accounts.rights import Area
from twistlock_console.accounts.sessions import Session, read_token
from twistlock_console.accounts.users import User
from twistlock_console.web.common.database import database
from twistlock_console.web.security.areas import assign, check_right
from twistlock_console.web.security.devices import known_device
from twistlock_console.web.security.sessions import logon_cache, user_of

NOBODY = "log in first: send HTTP Basic, or a token from POST /api/v1/authenticate"
ENDED = (
    "the token is not valid or has ended; get another from POST /api/v1/authenticate"
)
NO_BASIC = (
    "basic authentication is disabled; send a token from POST /api/v1/authenticate"
)
LONGEST = 1024  # no username or password is as long


def without_forms(bp: Blueprint) -> None:
    """Ask no CSRF token of *bp*, whose requests carry no cookie that counts."""

    def exempt(state: BlueprintSetupState) -> None:
        cast(CSRFProtect, state.app.extensions["csrf"]).exempt(bp)

    bp.record_once(exempt)


def api_guard(bp: Blueprint, area: Area) -> None:
    """Admit to all of *bp* only accounts that may read, or change, *area*."""
    without_forms(bp)
    assign(bp, area)
    bp.before_request(partial(admit, area))


def admit(area: Area) -> None:
    """Admit to this request only an account that may do this in *area*."""
    g.account = _identify()
    check_right(g.account, area)


def attempt(username: str, password: str) -> Attempt:
    """Describe a login that this request tries."""
    address = request.remote_addr or "unknown"
    device = known_device(username)
    return Attempt(username, password, address, request.path, device)


def token_key() -> bytes:
    """Give the key that signs tokens."""
    return cast(bytes, current_app.extensions["token_key"])


def remembered() -> Remembered:
    """Return the passwords that this application checked a moment ago."""
    return cast(Remembered, current_app.extensions["remembered"])


def current_token() -> Session | None:
    """Give the session of the token that this request carries, if it has one."""
    return cast("Session | None", g.get("token"))


def _identify() -> User:
    given = request.authorization
    if given is not None and given.type == "bearer":
        return _by_token(given.token or "")
    if given is not None and given.type == "basic":
        return _by_password(given.username or "", given.password or "")
    raise NotLoggedIn(NOBODY)


def _by_token(token: str) -> User:
    g.token = read_token(token_key(), token)
    user = user_of(g.token) if g.token else None
    if user is None:
        raise NotLoggedIn(ENDED)
    return user


def _by_password(username: str, password: str) -> User:
    if logon_cache().get().basic_auth_disabled:
        raise NotLoggedIn(NO_BASIC)
    sent = attempt(username[:LONGEST], password[:LONGEST])
    return login.check(database(), sent, remembered())
