"""One's own account: a token renewed or ended, and the password changed."""

from flask import Blueprint, jsonify
from flask.typing import ResponseReturnValue

from twistlock_console.accounts import login, sessions
from twistlock_console.accounts.rights import Areas
from twistlock_console.accounts.sessions import Session, write_token
from twistlock_console.audit.trail import AuditType
from twistlock_console.web.actions.audit import record_change
from twistlock_console.web.common.database import database
from twistlock_console.web.openapi.api_call import ApiCall, json_body
from twistlock_console.web.openapi.models import PasswordChange, TokenAnswer
from twistlock_console.web.security import login_attempt
from twistlock_console.web.security.guards import api_guard, current_token
from twistlock_console.web.security.sessions import (
    current_user,
    current_username,
    logon_cache,
    now,
    token_key,
)

bp = Blueprint("api_session", __name__)
api_guard(bp, Areas.OWN_ACCOUNT)


@bp.get("/authenticate/renew")
@ApiCall(answer=TokenAnswer)
def renew() -> ResponseReturnValue:
    """Give a new token for one that is still alive."""
    user = current_user()
    token = current_token() or Session.begin(user, now())
    timeout = logon_cache().get().session_timeout_sec
    renewed = token.renewed(now())
    return jsonify(token=write_token(token_key(), renewed, user, timeout))


@bp.post("/logout")
@ApiCall()
def logout() -> ResponseReturnValue:
    """End the token's session, and that of every token renewed from it."""
    if token := current_token():
        sessions.revoke_session(database(), token.id)
        record_change(AuditType.LOGIN, "logged out")
    return "", 200


@bp.put("/users/password")
@ApiCall(body=PasswordChange)
def change_password() -> ResponseReturnValue:
    """Change one's own password, which ends one's sessions and tokens."""
    body = json_body(PasswordChange)
    present = login_attempt.from_request(current_username(), body.old_password)
    login.change_password(
        database(), present, body.new_password, login_attempt.password_cache()
    )
    return "", 200
