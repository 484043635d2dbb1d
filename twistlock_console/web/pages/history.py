"""Manage > View Logs > History: what administrators did."""

from flask import Blueprint, render_template, request
from flask.typing import ResponseReturnValue

from twistlock_console.accounts.rights import Areas
from twistlock_console.web.common.database import database
from twistlock_console.web.lists.listing import download, fetch_for_page
from twistlock_console.web.lists.registry import HISTORY
from twistlock_console.web.security.guards import pages_for

bp = Blueprint("history", __name__, url_prefix="/manage/logs")
pages_for(bp, Areas.HISTORY)


@bp.get("/history")
def trail() -> ResponseReturnValue:
    """Show the audit trail, the latest first."""
    list_page = fetch_for_page(database(), HISTORY, request.args)
    return render_template("history.html", list_page=list_page), list_page.status


@bp.get("/history/download")
def trail_csv() -> ResponseReturnValue:
    """Give the audit trail as a CSV file."""
    return download(database(), HISTORY, request.args)
