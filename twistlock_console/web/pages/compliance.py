"""Monitor > Compliance: the latest run of the checks on each host."""

from flask import Blueprint, flash, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue

from twistlock_console.accounts.rights import Areas
from twistlock_console.common.errors import Refused
from twistlock_console.defenders.event_store import COMPLIANCE as COLLECTION
from twistlock_console.defenders.event_times import clock_ahead_seconds, time_on_host
from twistlock_console.web.actions.defenders import scan
from twistlock_console.web.common.database import database
from twistlock_console.web.lists.listing import download, fetch_for_page
from twistlock_console.web.lists.registry import COMPLIANCE
from twistlock_console.web.security.guards import pages_for

bp = Blueprint("compliance", __name__, url_prefix="/monitor/compliance")
pages_for(bp, Areas.EVENTS)


@bp.get("/hosts")
def hosts() -> ResponseReturnValue:
    """Show how each host complies."""
    list_page = fetch_for_page(database(), COMPLIANCE, request.args)
    return render_template("compliance.html", list_page=list_page), list_page.status


@bp.get("/hosts/download")
def hosts_csv() -> ResponseReturnValue:
    """Give that as a CSV file."""
    return download(database(), COMPLIANCE, request.args)


@bp.get("/host")
def host() -> ResponseReturnValue:
    """Show the results of one host, what failed first."""
    name = request.args.get("hostname", "")
    run = database()[COLLECTION].find_one({"_id": name}) or {"results": []}
    results = sorted(run["results"], key=lambda each: bool(each["passed"]))
    return render_template(
        "compliance_host.html",
        name=name,
        run=run,
        results=results,
        checked=time_on_host(run),
        ahead=clock_ahead_seconds(run),
    )


@bp.post("/scan")
def run_checks() -> ResponseReturnValue:
    """Have a host run its checks now."""
    name = request.form.get("hostname", "")
    try:
        scan(name)
        flash(f"{name} was asked to run its checks; look again in a moment.")
    except Refused as error:
        flash(str(error), "error")
    return redirect(url_for(".host", hostname=name), 303)
