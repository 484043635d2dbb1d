"""The users over the API."""

from flask import Blueprint, request
from flask.typing import ResponseReturnValue

from twistlock_console.accounts.rights import Areas
from twistlock_console.web.actions.accounts import add_user, change_user, remove_user
from twistlock_console.web.common.database import database
from twistlock_console.web.lists.listing import download, fetch
from twistlock_console.web.lists.registry import USERS
from twistlock_console.web.openapi.api_call import ApiCall, json_body
from twistlock_console.web.openapi.models import UserAnswer, UserBody
from twistlock_console.web.security.guards import api_guard

bp = Blueprint("api_users", __name__)
api_guard(bp, Areas.USERS)


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


@bp.post("/users")
@ApiCall(body=UserBody)
def add() -> ResponseReturnValue:
    """Add a user."""
    add_user(json_body(UserBody))
    return "", 200


@bp.put("/users")
@ApiCall(body=UserBody, raises=(404,))
def replace() -> ResponseReturnValue:
    """Replace a user; what is left out goes back to its default, but for the password.

    Another password ends the user's sessions and tokens.
    """
    change_user(json_body(UserBody))
    return "", 200


@bp.delete("/users/<username>")
@ApiCall()
def remove(username: str) -> ResponseReturnValue:
    """Delete a user, with all sessions and tokens."""
    remove_user(username)
    return "", 200
