"""The audit trail over the API."""

from flask import Blueprint, request
from flask.typing import ResponseReturnValue

from twistlock_console.accounts.rights import Area
from twistlock_console.web.api_auth import api_guard
from twistlock_console.web.listing import Wish, fetch
from twistlock_console.web.lists import HISTORY
from twistlock_console.web.storage import database

bp = Blueprint("api_audits", __name__)
api_guard(bp, Area.HISTORY)


@bp.get("/audits/mgmt")
def management() -> ResponseReturnValue:
    """List what administrators did, the latest first."""
    return fetch(database(), HISTORY, Wish.from_arguments(request.args)).as_json()
