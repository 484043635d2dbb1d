"""Manage > Authentication > Logon: how people log on, and for how long."""

import re

from flask import Blueprint, flash, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue

from twistlock_console.accounts.login_settings import LogonSettings, read_logon
from twistlock_console.accounts.rights import Areas
from twistlock_console.common.errors import Refused
from twistlock_console.web.actions.accounts import change_logon
from twistlock_console.web.common.database import database
from twistlock_console.web.openapi.api_call import form_body
from twistlock_console.web.openapi.models import LogonBody
from twistlock_console.web.security.guards import pages_for

bp = Blueprint("logon", __name__, url_prefix="/manage/authentication")
pages_for(bp, Areas.LOGON)


@bp.get("/logon")
def settings() -> ResponseReturnValue:
    """Show the logon settings."""
    return _logon_page(read_logon(database()))


@bp.post("/logon")
def set_settings() -> ResponseReturnValue:
    """Store the logon settings."""
    try:
        change_logon(form_body(LogonBody, _fields()))
    except Refused as error:
        return _logon_page(read_logon(database()), str(error)), 400
    flash("The logon settings are saved.")
    return redirect(url_for(".settings"), 303)


def _logon_page(stored: LogonSettings, error: str = "") -> str:
    return render_template("logon.html", logon=stored, error=error)


def _fields() -> dict[str, object]:
    """Read the form; the page speaks of minutes, the API of seconds."""
    minutes = request.form.get("minutes", "")
    if not re.fullmatch("[0-9]{1,5}", minutes) or not 1 <= int(minutes) <= 71_580:
        raise Refused("give the inactivity timeout in whole minutes, from 1 to 71580")
    return {
        "sessionTimeoutSec": int(minutes) * 60,
        "strongPassword": "strongPassword" in request.form,
        "basicAuthDisabled": "basicAuthDisabled" in request.form,
    }
