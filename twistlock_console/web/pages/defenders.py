"""Manage > Defenders: list, deployment, settings, and names of the Console."""

import re

from flask import Blueprint, flash, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue

from twistlock_console.accounts.rights import Areas
from twistlock_console.audit.trail import AuditType
from twistlock_console.certificate_renewal.names import read_names
from twistlock_console.common.errors import Refused
from twistlock_console.defenders.control import read_defender_settings
from twistlock_console.defenders.deployment import (
    console_names,
    create_token,
    deploy_command,
    list_tokens,
    revoke_token,
)
from twistlock_console.defenders.enrolled import list_permissions
from twistlock_console.defenders.register import count_connected
from twistlock_console.web.actions.audit import record_change
from twistlock_console.web.actions.defenders import (
    DefenderSettingsBody,
    allow_enrolment,
    change_names,
    change_settings,
    decommission,
    disallow_enrolment,
    list_console_names,
)
from twistlock_console.web.common.database import current_settings, database
from twistlock_console.web.lists.listing import ListPage, ListSource, register_list
from twistlock_console.web.lists.registry import DEFENDERS
from twistlock_console.web.openapi.api_call import read_form
from twistlock_console.web.security.guards import guard_pages
from twistlock_console.web.security.sessions import current_username

bp = Blueprint("defenders", __name__, url_prefix="/manage/defenders")
guard_pages(bp, Areas.DEFENDERS)
deploy_bp = Blueprint("deploy", __name__, url_prefix="/manage/defenders/deploy")
guard_pages(deploy_bp, Areas.DEFENDER_SCRIPTS)
names_bp = Blueprint("names", __name__, url_prefix="/manage/defenders/names")
guard_pages(names_bp, Areas.DEFENDER_NAMES)
BLUEPRINTS = (bp, deploy_bp, names_bp)
SETTINGS = {
    "alertHours": "Alert about disconnected Defenders after (hours)",
    "disconnectPeriodDays": "Automatically remove disconnected Defenders after (days)",
    "eventQuotaMegabytes": "Events that one Defender may store in a day (MB)",
}


@register_list(bp, "", ListSource(DEFENDERS))
def listed(found: ListPage) -> str:
    """Show the Defenders."""
    counts = count_connected(database())
    return render_template("defenders.html", list_page=found, counts=counts)


@bp.get("/decommission")
def confirm() -> ResponseReturnValue:
    """Ask for confirmation before a Defender is decommissioned."""
    return render_template("decommission.html", name=request.args.get("hostname", ""))


@bp.post("/decommission")
def remove() -> ResponseReturnValue:
    """Decommission a Defender: revoke its certificate and delete it."""
    name = request.form.get("hostname", "")
    try:
        decommission(name)
        flash(f"The Defender {name} is decommissioned, and its certificate revoked.")
    except Refused as error:
        flash(str(error), "error")
    return redirect(url_for(".listed"), 303)


@bp.get("/advanced")
def settings() -> ResponseReturnValue:
    """Show the time limits of disconnected Defenders and the quota of events."""
    return _settings_page()


@bp.post("/advanced")
def set_settings() -> ResponseReturnValue:
    """Store the settings of Defenders."""
    try:
        change_settings(read_form(DefenderSettingsBody, _fields(), SETTINGS))
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


@deploy_bp.get("")
def choose() -> ResponseReturnValue:
    """Show the form that creates a deploy command, and the present commands."""
    return _deploy_page()


@deploy_bp.post("")
def make() -> ResponseReturnValue:
    """Create a deploy token and show its command, only this once."""
    name = request.form.get("name", "")
    own = current_settings()
    try:
        deploy_command(own, name, "")
    except Refused as error:
        return _deploy_page(error=str(error)), 400
    token, expires = create_token(database(), current_username())
    record_change(
        AuditType.DEFENDER, f"created a deploy command for the Console name {name}"
    )
    made = {"command": deploy_command(own, name, token), "expires": expires}
    return _deploy_page(chosen=name, made=made)


@deploy_bp.post("/revoke")
def revoke() -> ResponseReturnValue:
    """Revoke the token of a deploy command."""
    token_id = request.form.get("id", "")
    try:
        revoke_token(database(), token_id)
        record_change(AuditType.DEFENDER, f"revoked the deploy command {token_id}")
    except Refused as error:
        flash(str(error), "error")
    return redirect(url_for(".choose"), 303)


@deploy_bp.post("/allow")
def allow() -> ResponseReturnValue:
    """Allow a host to enrol once under an existing name."""
    name = request.form.get("hostname", "").strip()
    try:
        allow_enrolment(name)
    except Refused as error:
        return _deploy_page(error=str(error)), 400
    flash(f"A host may enrol as {name} once.")
    return redirect(url_for(".choose"), 303)


@deploy_bp.post("/disallow")
def disallow() -> ResponseReturnValue:
    """Withdraw such a permission."""
    name = request.form.get("hostname", "")
    try:
        disallow_enrolment(name)
    except Refused as error:
        flash(str(error), "error")
    else:
        flash(f"No host may enrol as {name} any more.")
    return redirect(url_for(".choose"), 303)


def _deploy_page(chosen: str = "", made: object = None, error: str = "") -> str:
    own = current_settings()
    return render_template(
        "deploy.html",
        names=console_names(own),
        chosen=chosen,
        made=made,
        tokens=list_tokens(database()),
        permissions=list_permissions(database()),
        error=error,
    )


@names_bp.get("", endpoint="listed")
def list_names() -> ResponseReturnValue:
    """Show the names of the Console."""
    return render_template("names.html", names=list_console_names())


@names_bp.post("/add", endpoint="add")
def add_name() -> ResponseReturnValue:
    """Add a name of the Console."""
    name = request.form.get("name", "").strip()
    try:
        change_names([*read_names(database()), name])
    except Refused as error:
        flash(str(error), "error")
        return redirect(url_for(".listed", name=name[:253]), 303)
    return _names_changed(f"The name {name} is added.")


@names_bp.post("/remove", endpoint="remove")
def remove_name() -> ResponseReturnValue:
    """Remove a name that was added."""
    name = request.form.get("name", "")
    names = read_names(database())
    if name not in names:
        flash(f"there is no name {name[:100]!r} in the list", "error")
        return redirect(url_for(".listed"), 303)
    try:
        change_names([each for each in names if each != name])
    except Refused as error:
        flash(str(error), "error")
        return redirect(url_for(".listed"), 303)
    return _names_changed(f"The name {name} is removed.")


def _names_changed(message: str) -> ResponseReturnValue:
    flash(f"{message} All nodes renew their certificates within seconds.")
    return redirect(url_for(".listed"), 303)
