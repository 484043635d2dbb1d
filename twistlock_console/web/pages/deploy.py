"""Manage > Defenders > Deploy: one command that installs a Defender."""

from flask import (
    Blueprint,
    flash,
    redirect,
    render_template,
    request,
    url_for,
)
from flask.typing import ResponseReturnValue

from twistlock_console.accounts.rights import Areas
from twistlock_console.audit.trail import AuditType
from twistlock_console.common.errors import Refused
from twistlock_console.defenders.deployment import (
    console_names,
    deploy_command,
    new_token,
    revoke_token,
    tokens,
)
from twistlock_console.defenders.enrolled import permissions
from twistlock_console.web.actions.audit import record_change
from twistlock_console.web.actions.defenders import allow_enrolment, disallow_enrolment
from twistlock_console.web.common.database import current_settings, database
from twistlock_console.web.security.guards import pages_for
from twistlock_console.web.security.sessions import current_username

bp = Blueprint("deploy", __name__, url_prefix="/manage/defenders/deploy")
pages_for(bp, Areas.DEFENDER_SCRIPTS)


@bp.get("")
def choose() -> ResponseReturnValue:
    """Ask for the name by which the host reaches the Console."""
    return _page()


@bp.post("")
def make() -> ResponseReturnValue:
    """Make a token and show the command, this once."""
    name = request.form.get("name", "")
    own = current_settings()
    try:
        deploy_command(own, name, "")
    except Refused as error:
        return _page(error=str(error)), 400
    token, expires = new_token(database(), current_username())
    record_change(
        AuditType.DEFENDER, f"made a command that deploys Defenders by {name}"
    )
    made = {"command": deploy_command(own, name, token), "expires": expires}
    return _page(chosen=name, made=made)


@bp.post("/revoke")
def revoke() -> ResponseReturnValue:
    """Let nobody use a command again."""
    token_id = request.form.get("id", "")
    try:
        revoke_token(database(), token_id)
        record_change(AuditType.DEFENDER, f"revoked the deploy command {token_id}")
    except Refused as error:
        flash(str(error), "error")
    return redirect(url_for(".choose"), 303)


@bp.post("/allow")
def allow() -> ResponseReturnValue:
    """Let a host enrol under an existing name, once."""
    name = request.form.get("hostname", "").strip()
    try:
        allow_enrolment(name)
    except Refused as error:
        return _page(error=str(error)), 400
    flash(f"A host may enrol as {name} once.")
    return redirect(url_for(".choose"), 303)


@bp.post("/disallow")
def disallow() -> ResponseReturnValue:
    """Take such a permission back."""
    name = request.form.get("hostname", "")
    try:
        disallow_enrolment(name)
    except Refused as error:
        flash(str(error), "error")
    else:
        flash(f"No host may enrol as {name} any more.")
    return redirect(url_for(".choose"), 303)


def _page(chosen: str = "", made: object = None, error: str = "") -> str:
    own = current_settings()
    return render_template(
        "deploy.html",
        names=console_names(own),
        chosen=chosen,
        made=made,
        tokens=tokens(database()),
        permissions=permissions(database()),
        error=error,
    )
