"""The audit trail over the API."""

from flask import Blueprint, jsonify, request
from flask.typing import ResponseReturnValue

from twistlock_console.accounts.rights import Area
from twistlock_console.audits import AuditType, usernames
from twistlock_console.web.answers import HistoryAnswer, HistoryFiltersAnswer
from twistlock_console.web.api_auth import api_guard
from twistlock_console.web.described import ApiCall
from twistlock_console.web.listing import download, fetch
from twistlock_console.web.lists import HISTORY
from twistlock_console.web.storage import database

bp = Blueprint("api_audits", __name__)
api_guard(bp, Area.HISTORY)


@bp.get("/audits/mgmt")
@ApiCall(listing=HISTORY, answer=HistoryAnswer)
def management() -> ResponseReturnValue:
    """List what administrators did, the latest first."""
    return fetch(database(), HISTORY, request.args).as_json()


@bp.get("/audits/mgmt/download")
@ApiCall(listing=HISTORY, media="text/csv")
def management_csv() -> ResponseReturnValue:
    """Give the audit trail as a CSV file."""
    return download(database(), HISTORY, request.args)


@bp.get("/audits/mgmt/filters")
@ApiCall(answer=HistoryFiltersAnswer)
def management_filters() -> ResponseReturnValue:
    """Give the types and usernames that the audit trail can be filtered by."""
    return jsonify(
        type=[kind.value for kind in AuditType],
        username=usernames(database()),
    )
