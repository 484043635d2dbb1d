"""The API calls that need no login: ping, sign-up and log-in."""

from flask import Blueprint, jsonify
from flask.typing import ResponseReturnValue

from twistlock_console.accounts import login, users
from twistlock_console.accounts.sessions import Session, write_token
from twistlock_console.web.common.database import database
from twistlock_console.web.openapi.api_call import ApiCall, json_body
from twistlock_console.web.openapi.models import InitializedAnswer, TokenAnswer
from twistlock_console.web.security import login_attempt
from twistlock_console.web.security.guards import without_forms
from twistlock_console.web.security.login_attempt import Credentials
from twistlock_console.web.security.sessions import logon_cache, now, token_key

bp = Blueprint("api_entry", __name__)
without_forms(bp)


@bp.get("/_ping", strict_slashes=False)
@ApiCall(media="text/plain")
def ping() -> ResponseReturnValue:
    """Say that this node serves; asks nobody and touches nothing."""
    return "OK", 200, {"Content-Type": "text/plain; charset=utf-8"}


@bp.get("/settings/initialized")
@ApiCall(answer=InitializedAnswer, raises=(503,))
def initialized() -> ResponseReturnValue:
    """Tell whether the first administrator has signed up."""
    return jsonify(initialized=users.is_initialized(database()))


@bp.post("/signup")
@ApiCall(body=Credentials)
def signup() -> ResponseReturnValue:
    """Create the first administrator; works once."""
    body = json_body(Credentials)
    login.sign_up(database(), login_attempt.from_request(body.username, body.password))
    return "", 200


@bp.post("/authenticate")
@ApiCall(
    body=Credentials,
    answer=TokenAnswer,
    raises=(401, 429),
)
def authenticate() -> ResponseReturnValue:
    """Give a token for a username and a password."""
    body = json_body(Credentials)
    sent = login_attempt.from_request(body.username, body.password)
    user = login.log_in(database(), sent, login_attempt.password_cache())
    timeout = logon_cache().get().session_timeout_sec
    begun = Session.begin(user, now())
    return jsonify(token=write_token(token_key(), begun, user, timeout))
