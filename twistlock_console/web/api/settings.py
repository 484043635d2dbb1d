"""The logon settings over the API."""

from flask import Blueprint, jsonify
from flask.typing import ResponseReturnValue

from twistlock_console.accounts.login_settings import read_logon
from twistlock_console.accounts.rights import Areas
from twistlock_console.web.actions.accounts import change_logon
from twistlock_console.web.common.database import database
from twistlock_console.web.openapi.api_call import ApiCall, json_body
from twistlock_console.web.openapi.models import LogonAnswer, LogonBody
from twistlock_console.web.security.guards import api_guard

bp = Blueprint("api_settings", __name__)
api_guard(bp, Areas.LOGON)


@bp.get("/settings/logon")
@ApiCall(answer=LogonAnswer)
def logon() -> ResponseReturnValue:
    """Show the logon settings."""
    return jsonify(read_logon(database()).to_json())


@bp.post("/settings/logon")
@ApiCall(body=LogonBody)
def set_logon() -> ResponseReturnValue:
    """Replace the logon settings; what is left out goes back to its default."""
    change_logon(json_body(LogonBody))
    return "", 200
