"""Manage > View Logs > Console: what this node logged lately."""

from flask import Blueprint, render_template, request
from flask.typing import ResponseReturnValue

from twistlock_console.accounts.rights import Areas
from twistlock_console.web.actions.monitoring import (
    requested_line_count,
    requested_lines,
)
from twistlock_console.web.security.guards import pages_for

bp = Blueprint("logs", __name__, url_prefix="/manage/logs")
pages_for(bp, Areas.SYSTEM)


@bp.get("/console")
def console() -> ResponseReturnValue:
    """Show the latest lines, the newest first."""
    lines = requested_lines(request.args)[::-1]
    wished = requested_line_count(request.args)
    return render_template("logs.html", lines=lines, wished=wished)
