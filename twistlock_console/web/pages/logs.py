"""Manage > View Logs > Console: what this node logged lately."""

from flask import Blueprint, render_template, request
from flask.typing import ResponseReturnValue

from twistlock_console.accounts.rights import Areas
from twistlock_console.web.actions.log_query import count_wished, lines_wished
from twistlock_console.web.security.guards import pages_for

bp = Blueprint("logs", __name__, url_prefix="/manage/logs")
pages_for(bp, Areas.SYSTEM)


@bp.get("/console")
def console() -> ResponseReturnValue:
    """Show the latest lines, the newest first."""
    lines = lines_wished(request.args)[::-1]
    wished = count_wished(request.args)
    return render_template("logs.html", lines=lines, wished=wished)
