"""Manage > Authentication: the users, and how people log on."""

import re

from flask import Blueprint, flash, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue

from twistlock_console.accounts.logon import LogonSettings, read_logon
from twistlock_console.accounts.roles import UserRole
from twistlock_console.errors import Refused
from twistlock_console.web.auth import pages_for
from twistlock_console.web.bodies import LogonBody, form_body
from twistlock_console.web.changes import change_logon
from twistlock_console.web.listing import Wish, fetch
from twistlock_console.web.lists import USERS
from twistlock_console.web.storage import database

bp = Blueprint("authentication", __name__, url_prefix="/manage/authentication")
pages_for(bp, UserRole.AUDITOR)


@bp.get("/users")
def users() -> ResponseReturnValue:
    """Show the users."""
    piece = fetch(database(), USERS, Wish.from_arguments(request.args))
    labels = {role.value: role.label for role in UserRole}
    return render_template("users.html", piece=piece, labels=labels)


@bp.get("/logon")
def logon() -> ResponseReturnValue:
    """Show the logon settings."""
    return _logon_page(read_logon(database()))


@bp.post("/logon")
def set_logon() -> ResponseReturnValue:
    """Store the logon settings."""
    try:
        change_logon(form_body(LogonBody, _fields()))
    except Refused as error:
        return _logon_page(read_logon(database()), str(error)), 400
    flash("The logon settings are saved.")
    return redirect(url_for(".logon"), 303)


def _logon_page(settings: LogonSettings, error: str = "") -> str:
    return render_template("logon.html", logon=settings, error=error)


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
