"""The log of the node that answers, over the API."""

from flask import Blueprint, jsonify, request
from flask.typing import ResponseReturnValue

from twistlock_console.accounts.rights import Areas
from twistlock_console.logs.reader import LogLine
from twistlock_console.web.actions.monitoring import LinesQuery, requested_lines
from twistlock_console.web.openapi.api_call import ApiCall
from twistlock_console.web.security.guards import api_guard

bp = Blueprint("api_logs", __name__)
api_guard(bp, Areas.SYSTEM)


@bp.get("/logs/console")
@ApiCall(query=LinesQuery, answer=list[LogLine])
def console() -> ResponseReturnValue:
    """Give the latest lines that this node has logged, oldest first."""
    return jsonify([line.to_json() for line in requested_lines(request.args)])
