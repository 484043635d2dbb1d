"""The users over the API."""

from flask import Blueprint, request
from flask.typing import ResponseReturnValue

from twistlock_console.accounts.rights import Area
from twistlock_console.web.answers import UserAnswer
from twistlock_console.web.api_auth import api_guard
from twistlock_console.web.described import ApiCall
from twistlock_console.web.listing import download, fetch
from twistlock_console.web.lists import USERS
from twistlock_console.web.storage import database

bp = Blueprint("api_users", __name__)
api_guard(bp, Area.USERS)


@bp.get("/users")
@ApiCall(listing=USERS, answer=UserAnswer)
def users() -> ResponseReturnValue:
    """List the users."""
    return fetch(database(), USERS, request.args).as_json()


@bp.get("/users/download")
@ApiCall(listing=USERS, media="text/csv")
def users_csv() -> ResponseReturnValue:
    """Give the users as a CSV file."""
    return download(database(), USERS, request.args)
