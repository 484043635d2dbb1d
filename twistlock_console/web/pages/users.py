"""Manage > Authentication > Users."""

from flask import Blueprint, render_template, request
from flask.typing import ResponseReturnValue

from twistlock_console.accounts.rights import Area
from twistlock_console.accounts.roles import UserRole
from twistlock_console.web.auth import pages_for
from twistlock_console.web.listing import download, fetch
from twistlock_console.web.lists import USERS
from twistlock_console.web.storage import database

bp = Blueprint("users", __name__, url_prefix="/manage/authentication")
pages_for(bp, Area.USERS)


@bp.get("/users")
def listed() -> ResponseReturnValue:
    """Show the users."""
    piece = fetch(database(), USERS, request.args)
    labels = {role.value: role.label for role in UserRole}
    return render_template("users.html", piece=piece, labels=labels)


@bp.get("/users/download")
def users_csv() -> ResponseReturnValue:
    """Give the users as a CSV file."""
    return download(database(), USERS, request.args)
