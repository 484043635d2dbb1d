"""Monitor: events of Defenders as lists and charts, and compliance of hosts."""

from datetime import UTC, datetime, timedelta

from flask import Blueprint, flash, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue

from twistlock_console.accounts.rights import Areas
from twistlock_console.common.errors import Refused
from twistlock_console.defenders.event_store import COMPLIANCE as COLLECTION
from twistlock_console.defenders.event_store import count_by_time
from twistlock_console.defenders.event_times import clock_ahead_seconds, time_on_host
from twistlock_console.web.actions.defenders import scan
from twistlock_console.web.common.database import database
from twistlock_console.web.lists.listing import ListPage, ListSource, register_list
from twistlock_console.web.lists.query import ListRequest, build_filter
from twistlock_console.web.lists.registry import (
    COMPLIANCE,
    FILE_AUDITS,
    HOST_AUDITS,
    TROUBLES,
)
from twistlock_console.web.security.guards import guard_pages
from twistlock_console.web.ui.event_plot import BAR_COUNT, EventPlot, draw_plot

PLOT_PERIOD = timedelta(days=1)
PROCESSES = ListSource(HOST_AUDITS, {"kind": "process"})
FILES = ListSource(FILE_AUDITS, {"kind": "file"})
TROUBLE = ListSource(TROUBLES, {"kind": "trouble"})
bp = Blueprint("events", __name__, url_prefix="/monitor/events")
guard_pages(bp, Areas.EVENTS)
compliance_bp = Blueprint("compliance", __name__, url_prefix="/monitor/compliance")
guard_pages(compliance_bp, Areas.EVENTS)
BLUEPRINTS = (bp, compliance_bp)


@register_list(bp, "/host", PROCESSES)
def host(found: ListPage) -> str:
    """Show the denied processes that Defenders found."""
    return _page("events_host.html", found, PROCESSES)


@register_list(bp, "/file-integrity", FILES)
def files(found: ListPage) -> str:
    """Show the changes of watched files."""
    return _page("events_files.html", found, FILES)


@register_list(bp, "/trouble", TROUBLE)
def troubles(found: ListPage) -> str:
    """Show the rules that Defenders could not enforce."""
    return _page("events_trouble.html", found, TROUBLE)


@register_list(compliance_bp, "/hosts", ListSource(COMPLIANCE))
def hosts(found: ListPage) -> str:
    """Show the latest compliance results of each host."""
    return render_template("compliance.html", list_page=found)


@compliance_bp.get("/host", endpoint="host")
def host_results() -> ResponseReturnValue:
    """Show the compliance results of one host, failed checks first."""
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


@compliance_bp.post("/scan")
def run_checks() -> ResponseReturnValue:
    """Order a host to run its checks now."""
    name = request.form.get("hostname", "")
    try:
        scan(name)
        flash(f"{name} was ordered to run its checks. Reload this page in a moment.")
    except Refused as error:
        flash(str(error), "error")
    return redirect(url_for(".host", hostname=name), 303)


def _page(template: str, found: ListPage, source: ListSource) -> str:
    # Counting many events takes time, so the page requests the chart separately.
    is_drawn = "plot" in request.args and not found.problem
    drawn = _draw_plot(source) if is_drawn else None
    return render_template(template, list_page=found, plot=drawn)


def _draw_plot(source: ListSource) -> EventPlot:
    asked = ListRequest.from_arguments(source.arguments(), source.listable)
    until = asked.until or datetime.now(UTC)
    since = asked.since or until - PLOT_PERIOD
    between = {"received": {"$gte": since, "$lte": until}}
    wanted = {**build_filter(source.listable, asked), **between}
    step = max((until - since) / BAR_COUNT, timedelta(seconds=1))
    return draw_plot(count_by_time(database(), wanted, since, step), since, step)
