"""Guards of blueprints: each blueprint belongs to an area of the table of rights.

A page authenticates by the session in its cookie. An API call authenticates by HTTP
Basic or a bearer token, and never by a cookie.
"""

from functools import partial
from typing import cast

from flask import Blueprint, Flask, Response, current_app, g, redirect, request, url_for
from flask.blueprints import BlueprintSetupState
from flask.typing import ResponseReturnValue
from flask_wtf.csrf import CSRFProtect

from twistlock_console.accounts import login
from twistlock_console.accounts.errors import NotAllowed, NotLoggedIn
from twistlock_console.accounts.rights import Area, may
from twistlock_console.accounts.sessions import Session, read_token
from twistlock_console.accounts.users import User
from twistlock_console.web.common.database import database
from twistlock_console.web.security import login_attempt
from twistlock_console.web.security.sessions import (
    current_user,
    find_session_user,
    logon_settings_cache,
    renew_session,
    session_user,
    token_key,
)

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
NO_CREDENTIALS = (
    "log in first: send HTTP Basic, or a token from POST /api/v1/authenticate"
)
NO_VALID_SESSION = (
    "the token is invalid or has expired; get another from POST /api/v1/authenticate"
)
NO_BASIC = (
    "basic authentication is disabled; send a token from POST /api/v1/authenticate"
)
MAX_CREDENTIAL_CHARACTERS = 1024  # no username or password is as long


def guard_pages(bp: Blueprint, area: Area) -> None:
    """Guard pages: reading requires the right to read *area*, a form to change it."""
    assign_area(bp, area)
    bp.before_request(partial(_admit_to_page, area))


def guard_api(bp: Blueprint, area: Area) -> None:
    """Guard API calls: GET requires the right to read *area*, others to change it."""
    exempt_from_csrf(bp)
    assign_area(bp, area)
    bp.before_request(partial(admit, area))


def exempt_from_csrf(bp: Blueprint) -> None:
    """Exempt *bp* from CSRF tokens: its requests are not authenticated by a cookie."""

    def exempt(state: BlueprintSetupState) -> None:
        cast(CSRFProtect, state.app.extensions["csrf"]).exempt(bp)

    bp.record_once(exempt)


def assign_area(bp: Blueprint, area: Area) -> None:
    """Assign all of *bp*, pages or API calls, to *area*."""

    def note(state: BlueprintSetupState) -> None:
        areas_of(cast(Flask, state.app))[bp.name] = area

    bp.record_once(note)


def areas_of(app: Flask) -> dict[str, Area]:
    """Return the area of each blueprint that has one, by the blueprint's name."""
    return cast(dict[str, Area], app.extensions.setdefault("areas", {}))


def may_see(blueprint: str) -> bool:
    """Return whether the present user may see the pages of *blueprint*."""
    area = areas_of(current_app).get(blueprint)
    return area is not None and may(current_user().role, area, change=False)


def may_change(blueprint: str) -> bool:
    """Return whether the present user may change what *blueprint* shows."""
    area = areas_of(current_app).get(blueprint)
    return area is not None and may(current_user().role, area, change=True)


def admit(area: Area) -> None:
    """Authenticate this API call and check the right to do it in *area*.

    Raises:
        NotLoggedIn: the request has no valid credentials.
        NotAllowed: the role of the account does not allow this.
    """
    g.account = _identify()
    _check_right(g.account, area)


def current_token() -> Session | None:
    """Return the session of the request's bearer token; None without a token."""
    return cast("Session | None", g.get("token"))


def _admit_to_page(area: Area) -> ResponseReturnValue | None:
    if (user := session_user()) is None:
        return _redirect_to_login()
    g.account = user
    renew_session()
    _check_right(user, area)
    return None


def _redirect_to_login() -> ResponseReturnValue:
    if "HX-Request" in request.headers:
        return Response(status=401, headers={"HX-Refresh": "true"})
    back = request.full_path.rstrip("?") if request.method == "GET" else None
    return redirect(url_for("login.login", next=back), 303)


def _check_right(user: User, area: Area) -> None:
    """Raise NotAllowed unless *user* may do what this request asks for in *area*."""
    if not may(user.role, area, change=request.method not in SAFE_METHODS):
        raise NotAllowed


def _identify() -> User:
    given = request.authorization
    if given is not None and given.type == "bearer":
        return _user_by_token(given.token or "")
    if given is not None and given.type == "basic":
        return _user_by_password(given.username or "", given.password or "")
    raise NotLoggedIn(NO_CREDENTIALS)


def _user_by_token(token: str) -> User:
    g.token = read_token(token_key(), token)
    user = find_session_user(g.token) if g.token else None
    if user is None:
        raise NotLoggedIn(NO_VALID_SESSION)
    return user


def _user_by_password(username: str, password: str) -> User:
    if logon_settings_cache().get().basic_auth_disabled:
        raise NotLoggedIn(NO_BASIC)
    sent = login_attempt.from_request(
        username[:MAX_CREDENTIAL_CHARACTERS], password[:MAX_CREDENTIAL_CHARACTERS]
    )
    return login.check_credentials(database(), sent, login_attempt.password_cache())
