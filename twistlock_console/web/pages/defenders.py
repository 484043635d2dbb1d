"""Manage > Defenders: who is deployed, who is connected, and since when."""

import re

from flask import Blueprint, flash, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue

from twistlock_console.accounts.rights import Areas
from twistlock_console.common.errors import Refused
from twistlock_console.defenders.control import read_defender_settings
from twistlock_console.defenders.register import count_connected
from twistlock_console.web.actions.defenders import (
    DefenderSettingsBody,
    change_settings,
    decommission,
)
from twistlock_console.web.common.database import database
from twistlock_console.web.lists.listing import download, fetch_for_page
from twistlock_console.web.lists.registry import DEFENDERS
from twistlock_console.web.openapi.api_call import form_body
from twistlock_console.web.security.guards import pages_for

bp = Blueprint("defenders", __name__, url_prefix="/manage/defenders")
pages_for(bp, Areas.DEFENDERS)
SETTINGS = {
    "alertHours": "Alert about disconnected Defenders after (hours)",
    "disconnectPeriodDays": "Automatically remove disconnected Defenders after (days)",
    "eventQuotaMegabytes": "Events that one Defender may store in a day (MB)",
}


@bp.get("")
def listed() -> ResponseReturnValue:
    """Show the Defenders."""
    list_page = fetch_for_page(database(), DEFENDERS, request.args)
    counts = count_connected(database())
    return render_template(
        "defenders.html", list_page=list_page, counts=counts
    ), list_page.status


@bp.get("/download")
def listed_csv() -> ResponseReturnValue:
    """Give the Defenders as a CSV file."""
    return download(database(), DEFENDERS, request.args)


@bp.get("/decommission")
def confirm() -> ResponseReturnValue:
    """Ask whether a Defender shall go for good."""
    return render_template("decommission.html", name=request.args.get("hostname", ""))


@bp.post("/decommission")
def remove() -> ResponseReturnValue:
    """Revoke a Defender's certificate and forget it."""
    name = request.form.get("hostname", "")
    try:
        decommission(name)
        flash(f"The Defender {name} is decommissioned, and its certificate revoked.")
    except Refused as error:
        flash(str(error), "error")
    return redirect(url_for(".listed"), 303)


@bp.get("/advanced")
def settings() -> ResponseReturnValue:
    """Show after how long away something happens."""
    return _settings_page()


@bp.post("/advanced")
def set_settings() -> ResponseReturnValue:
    """Store the settings."""
    try:
        change_settings(form_body(DefenderSettingsBody, _fields(), SETTINGS))
    except Refused as error:
        return _settings_page(str(error)), 400
    flash("The settings of Defenders are saved.")
    return redirect(url_for(".settings"), 303)


def _settings_page(error: str = "") -> str:
    stored = read_defender_settings(database())
    return render_template(
        "defender_settings.html", stored=stored, labels=SETTINGS, error=error
    )


def _fields() -> dict[str, object]:
    given = {name: request.form.get(name, "") for name in SETTINGS}
    for name, text in given.items():
        if not re.fullmatch("[0-9]{1,7}", text):
            raise Refused(f"{SETTINGS[name]}: give a whole number")
    return {name: int(text) for name, text in given.items()}
