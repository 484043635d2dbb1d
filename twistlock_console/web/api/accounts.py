"""Accounts over the API: login, own session, users, logon settings, history."""

from flask import Blueprint, jsonify
from flask.typing import ResponseReturnValue

from twistlock_console.accounts import login, sessions, users
from twistlock_console.accounts.login_settings import LogonSettings, read_logon
from twistlock_console.accounts.rights import Areas
from twistlock_console.accounts.sessions import Session, write_token
from twistlock_console.audit.trail import AuditType, audit_kinds, read_usernames
from twistlock_console.web.actions.accounts import (
    add_user,
    change_logon,
    change_user,
    remove_user,
)
from twistlock_console.web.actions.audit import record_change
from twistlock_console.web.common.database import database
from twistlock_console.web.lists.listing import ListSource
from twistlock_console.web.lists.registry import HISTORY, USERS
from twistlock_console.web.openapi.api_call import (
    ApiCall,
    ListCall,
    read_json_body,
    register_list_call,
)
from twistlock_console.web.openapi.models import (
    HistoryFiltersResponse,
    HistoryResponse,
    InitializedResponse,
    PasswordChange,
    TokenResponse,
    UserBody,
    UserResponse,
)
from twistlock_console.web.security import login_attempt
from twistlock_console.web.security.guards import (
    current_token,
    exempt_from_csrf,
    guard_api,
)
from twistlock_console.web.security.login_attempt import LoginCredentials
from twistlock_console.web.security.sessions import (
    current_user,
    current_username,
    logon_settings_cache,
    now,
    token_key,
)

#: Calls that need no login.
open_bp = Blueprint("api_entry", __name__)
exempt_from_csrf(open_bp)
session_bp = Blueprint("api_session", __name__)
guard_api(session_bp, Areas.OWN_ACCOUNT)
users_bp = Blueprint("api_users", __name__)
guard_api(users_bp, Areas.USERS)
logon_bp = Blueprint("api_settings", __name__)
guard_api(logon_bp, Areas.LOGON)
history_bp = Blueprint("api_audits", __name__)
guard_api(history_bp, Areas.HISTORY)
BLUEPRINTS = (open_bp, session_bp, users_bp, logon_bp, history_bp)


@open_bp.get("/_ping", strict_slashes=False)
@ApiCall(media="text/plain")
def ping() -> ResponseReturnValue:
    """Answer OK while this node serves; uses neither database nor disk."""
    return "OK", 200, {"Content-Type": "text/plain; charset=utf-8"}


@open_bp.get("/settings/initialized")
@ApiCall(answer=InitializedResponse, raises=(503,))
def initialized() -> ResponseReturnValue:
    """Return whether the first administrator has signed up."""
    return jsonify(initialized=users.is_initialized(database()))


@open_bp.post("/signup")
@ApiCall(body=LoginCredentials)
def signup() -> ResponseReturnValue:
    """Create the first administrator; works once."""
    body = read_json_body(LoginCredentials)
    login.sign_up(database(), login_attempt.from_request(body.username, body.password))
    return "", 200


@open_bp.post("/authenticate")
@ApiCall(
    body=LoginCredentials,
    answer=TokenResponse,
    raises=(401, 429),
)
def authenticate() -> ResponseReturnValue:
    """Return a token for a username and a password."""
    body = read_json_body(LoginCredentials)
    sent = login_attempt.from_request(body.username, body.password)
    user = login.log_in(database(), sent, login_attempt.password_cache())
    timeout = logon_settings_cache().get().session_timeout_sec
    begun = Session.start(user, now())
    return jsonify(token=write_token(token_key(), begun, user, timeout))


@session_bp.get("/authenticate/renew")
@ApiCall(answer=TokenResponse)
def renew() -> ResponseReturnValue:
    """Return a new token for one that is still valid."""
    user = current_user()
    token = current_token() or Session.start(user, now())
    timeout = logon_settings_cache().get().session_timeout_sec
    renewed = token.renewed(now())
    return jsonify(token=write_token(token_key(), renewed, user, timeout))


@session_bp.post("/logout")
@ApiCall()
def logout() -> ResponseReturnValue:
    """End the session of the token, and of every token renewed from it."""
    if token := current_token():
        sessions.revoke_session(database(), token.id)
        record_change(AuditType.LOGIN, "logged out")
    return "", 200


@session_bp.put("/users/password")
@ApiCall(body=PasswordChange)
def change_password() -> ResponseReturnValue:
    """Change your own password; your sessions and tokens end."""
    body = read_json_body(PasswordChange)
    present = login_attempt.from_request(current_username(), body.old_password)
    login.change_password(
        database(), present, body.new_password, login_attempt.password_cache()
    )
    return "", 200


register_list_call(
    users_bp,
    "/users",
    "users",
    ListSource(USERS),
    ListCall("List the users.", UserResponse, csv="the users"),
)


@users_bp.post("/users")
@ApiCall(body=UserBody)
def add() -> ResponseReturnValue:
    """Add a user."""
    add_user(read_json_body(UserBody))
    return "", 200


@users_bp.put("/users")
@ApiCall(body=UserBody, raises=(404,))
def replace() -> ResponseReturnValue:
    """Replace a user; a field left out gets its default, the password stays.

    A new password ends the user's sessions and tokens.
    """
    change_user(read_json_body(UserBody))
    return "", 200


@users_bp.delete("/users/<username>")
@ApiCall()
def remove(username: str) -> ResponseReturnValue:
    """Delete a user, and end all sessions and tokens of the user."""
    remove_user(username)
    return "", 200


@logon_bp.get("/settings/logon")
@ApiCall(answer=LogonSettings)
def logon() -> ResponseReturnValue:
    """Return the logon settings."""
    return jsonify(read_logon(database()).to_json())


@logon_bp.post("/settings/logon")
@ApiCall(body=LogonSettings)
def set_logon() -> ResponseReturnValue:
    """Replace the logon settings; a field left out gets its default."""
    change_logon(read_json_body(LogonSettings))
    return "", 200


register_list_call(
    history_bp,
    "/audits/mgmt",
    "management",
    ListSource(HISTORY),
    ListCall(
        "List the actions of administrators, the latest first.",
        HistoryResponse,
        csv="the audit trail",
    ),
)


@history_bp.get("/audits/mgmt/filters")
@ApiCall(answer=HistoryFiltersResponse)
def management_filters() -> ResponseReturnValue:
    """Return the types and usernames by which the audit trail can be filtered."""
    return jsonify(
        type=[str(kind) for kind in audit_kinds()],
        username=read_usernames(database()),
    )
