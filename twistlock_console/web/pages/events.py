"""Monitor > Events: what Defenders found, as lists and over time."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from flask import Blueprint, render_template, request
from flask.typing import ResponseReturnValue

from twistlock_console.accounts.rights import Areas
from twistlock_console.defenders.event_store import count_by_time
from twistlock_console.web.common.database import database
from twistlock_console.web.lists.listing import download, fetch_for_page
from twistlock_console.web.lists.query import ListRequest, conditions
from twistlock_console.web.lists.registry import FILE_AUDITS, HOST_AUDITS, TROUBLES
from twistlock_console.web.lists.schema import Listable
from twistlock_console.web.security.guards import pages_for
from twistlock_console.web.ui.event_plot import BARS, EventPlot, plot

SHOWN = timedelta(days=1)
bp = Blueprint("events", __name__, url_prefix="/monitor/events")
pages_for(bp, Areas.EVENTS)


@bp.get("/host")
def host() -> ResponseReturnValue:
    """Show the denied processes that Defenders found."""
    return _page("events_host.html", HOST_AUDITS, "process")


@bp.get("/host/download")
def host_csv() -> ResponseReturnValue:
    """Give them as a CSV file."""
    return download(database(), HOST_AUDITS, _given("process"))


@bp.get("/file-integrity")
def files() -> ResponseReturnValue:
    """Show the changes of watched files."""
    return _page("events_files.html", FILE_AUDITS, "file")


@bp.get("/file-integrity/download")
def files_csv() -> ResponseReturnValue:
    """Give them as a CSV file."""
    return download(database(), FILE_AUDITS, _given("file"))


@bp.get("/trouble")
def troubles() -> ResponseReturnValue:
    """Show what Defenders could not enforce."""
    return _page("events_trouble.html", TROUBLES, "trouble")


@bp.get("/trouble/download")
def troubles_csv() -> ResponseReturnValue:
    """Give that as a CSV file."""
    return download(database(), TROUBLES, _given("trouble"))


def _page(template: str, listable: Listable, kind: str) -> ResponseReturnValue:
    given = _given(kind)
    list_page = fetch_for_page(database(), listable, given)
    # The kind is the page's, and no asked of the reader.
    filters = {k: v for k, v in list_page.request.filters.items() if k != "kind"}
    asked = {k: v for k, v in list_page.given.items() if k != "kind"}
    shown = replace(
        list_page, request=replace(list_page.request, filters=filters), given=asked
    )
    # Counting takes time where there are many, so the plot is asked for by itself.
    is_drawn = "plot" in request.args and not list_page.problem
    drawn = _plot(listable, given) if is_drawn else None
    return render_template(template, list_page=shown, plot=drawn), list_page.status


def _given(kind: str) -> dict[str, str]:
    return {**request.args.to_dict(), "kind": kind}


def _plot(listable: Listable, given: dict[str, str]) -> EventPlot:
    asked = ListRequest.from_arguments(given, listable)
    until = asked.until or datetime.now(UTC)
    since = asked.since or until - SHOWN
    wanted = {**conditions(listable, asked), "received": {"$gte": since, "$lte": until}}
    step = max((until - since) / BARS, timedelta(seconds=1))
    return plot(count_by_time(database(), wanted, since, step), since, step)
