"""The logon settings over the API."""

from flask import Blueprint, jsonify
from flask.typing import ResponseReturnValue

from twistlock_console.accounts.logon import read_logon
from twistlock_console.accounts.rights import Area
from twistlock_console.web.answers import LogonAnswer
from twistlock_console.web.api_auth import api_guard
from twistlock_console.web.bodies import LogonBody, json_body
from twistlock_console.web.changes import change_logon
from twistlock_console.web.described import ApiCall
from twistlock_console.web.storage import database

bp = Blueprint("api_settings", __name__)
api_guard(bp, Area.LOGON)


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
