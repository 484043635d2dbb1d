"""Manage > Authentication: users and logon settings."""

import re
from collections.abc import Callable, Mapping

from flask import Blueprint, flash, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue

from twistlock_console.accounts import users
from twistlock_console.accounts.credential_rules import check_repeated
from twistlock_console.accounts.login_settings import LogonSettings, read_logon
from twistlock_console.accounts.rights import Areas, UserRole
from twistlock_console.common.errors import Busy, NotFound, Refused
from twistlock_console.web.actions.accounts import (
    add_user,
    change_logon,
    change_user,
    remove_user,
)
from twistlock_console.web.common.database import database
from twistlock_console.web.common.errors import status_and_headers
from twistlock_console.web.lists.listing import ListPage, ListSource, register_list
from twistlock_console.web.lists.registry import USERS
from twistlock_console.web.openapi.api_call import read_form
from twistlock_console.web.openapi.models import UserBody
from twistlock_console.web.security.guards import guard_pages

bp = Blueprint("users", __name__, url_prefix="/manage/authentication/users")
guard_pages(bp, Areas.USERS)
logon_bp = Blueprint("logon", __name__, url_prefix="/manage/authentication")
guard_pages(logon_bp, Areas.LOGON)
BLUEPRINTS = (bp, logon_bp)

LABELS = {role.value: role.label for role in UserRole}


@register_list(bp, "", ListSource(USERS))
def listed(found: ListPage) -> str:
    """Show the users."""
    return render_template("users.html", list_page=found, labels=LABELS)


@bp.get("/add")
def add_form() -> ResponseReturnValue:
    """Show the form of a new user."""
    return _render_form("", UserRole.AUDITOR.value, new=True)


@bp.post("/add")
def add() -> ResponseReturnValue:
    """Add a user."""
    return _apply_change(add_user, "was added", new=True)


@bp.get("/edit")
def edit_form() -> ResponseReturnValue:
    """Show the form to change a user's role or password."""
    user = users.find(database(), request.args.get("username", ""))
    if user is None:
        raise NotFound("there is no such user")
    return _render_form(user.username, user.role.value, new=False)


@bp.post("/edit")
def edit() -> ResponseReturnValue:
    """Change a user's role or password."""
    return _apply_change(change_user, "was changed", new=False)


@bp.get("/delete")
def delete_form() -> ResponseReturnValue:
    """Ask for confirmation before a user is deleted."""
    return render_template("user_delete.html", username=_username(request.args))


@bp.post("/delete")
def delete() -> ResponseReturnValue:
    """Delete a user."""
    username = _username(request.form)
    try:
        remove_user(username)
    except Refused as error:
        flash(str(error), "error")
    else:
        flash(f"The user {username} was deleted.")
    return redirect(url_for(".listed"), 303)


@logon_bp.get("/logon")
def settings() -> ResponseReturnValue:
    """Show the logon settings."""
    return _logon_page(read_logon(database()))


@logon_bp.post("/logon")
def set_settings() -> ResponseReturnValue:
    """Store the logon settings."""
    try:
        change_logon(read_form(LogonSettings, _logon_fields()))
    except Refused as error:
        return _logon_page(read_logon(database()), str(error)), 400
    flash("The logon settings are saved.")
    return redirect(url_for(".settings"), 303)


def _apply_change(
    change: Callable[[UserBody], None], outcome: str, *, new: bool
) -> ResponseReturnValue:
    username, role = _username(request.form), request.form.get("role", "")
    try:
        change(_user_body(username, role))
    except Busy as error:
        form = _render_form(username, role, new=new, error=str(error))
        return form, *status_and_headers(error)
    except Refused as error:
        return _render_form(username, role, new=new, error=str(error)), 400
    flash(f"The user {username} {outcome}.")
    return redirect(url_for(".listed"), 303)


def _user_body(username: str, role: str) -> UserBody:
    if role not in LABELS:
        raise Refused("choose a role")
    password = request.form.get("password", "")
    check_repeated(password, request.form.get("repeated", ""))
    return read_form(
        UserBody,
        {"username": username, "role": UserRole(role), "password": password or None},
    )


def _render_form(username: str, role: str, *, new: bool, error: str = "") -> str:
    return render_template(
        "user_form.html",
        username=username,
        chosen=role,
        labels=LABELS,
        new=new,
        error=error,
    )


def _username(given: Mapping[str, str]) -> str:
    return given.get("username", "")[:256]


def _logon_page(stored: LogonSettings, error: str = "") -> str:
    return render_template("logon.html", logon=stored, error=error)


def _logon_fields() -> dict[str, object]:
    """Return the fields of the form, with its minutes in seconds."""
    minutes = request.form.get("minutes", "")
    if not re.fullmatch("[0-9]{1,5}", minutes) or not 1 <= int(minutes) <= 71_580:
        raise Refused("give the inactivity timeout in whole minutes, from 1 to 71580")
    return {
        "sessionTimeoutSec": int(minutes) * 60,
        "strongPassword": "strongPassword" in request.form,
        "basicAuthDisabled": "basicAuthDisabled" in request.form,
    }
