"""The audit trail over the API."""

from flask import Blueprint, jsonify, request
from flask.typing import ResponseReturnValue

from twistlock_console.accounts.rights import Areas
from twistlock_console.audit.trail import audit_kinds, usernames
from twistlock_console.web.common.database import database
from twistlock_console.web.lists.listing import download, fetch
from twistlock_console.web.lists.registry import HISTORY
from twistlock_console.web.openapi.api_call import ApiCall
from twistlock_console.web.openapi.models import HistoryAnswer, HistoryFiltersAnswer
from twistlock_console.web.security.guards import api_guard

bp = Blueprint("api_audits", __name__)
api_guard(bp, Areas.HISTORY)


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
        type=[str(kind) for kind in audit_kinds()],
        username=usernames(database()),
    )
