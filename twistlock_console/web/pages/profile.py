"""One's own account: another password, and the end of all sessions."""

from flask import Blueprint, flash, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue

from twistlock_console.accounts import login, users
from twistlock_console.accounts.credential_rules import check_repeated
from twistlock_console.accounts.errors import TooManyFailures
from twistlock_console.accounts.rights import Areas
from twistlock_console.audit.trail import AuditType
from twistlock_console.common.errors import Busy, Refused
from twistlock_console.web.actions.audit import recorded
from twistlock_console.web.common.database import database
from twistlock_console.web.common.errors import status_of
from twistlock_console.web.openapi.api_call import form_body
from twistlock_console.web.openapi.models import PasswordChange
from twistlock_console.web.security import login_attempt
from twistlock_console.web.security.guards import pages_for
from twistlock_console.web.security.sessions import (
    current_username,
    end_session,
    start_session,
)
from twistlock_console.web.ui.layout import dismiss_all_banners

bp = Blueprint("profile", __name__, url_prefix="/profile")
pages_for(bp, Areas.OWN_ACCOUNT)


LABELS = {"oldPassword": "Present password", "newPassword": "New password"}


@bp.get("/password")
def password() -> ResponseReturnValue:
    """Ask for the present password and a new one."""
    return render_template("password.html")


@bp.post("/password")
def change_password() -> ResponseReturnValue:
    """Change the password; every session but this one ends."""
    names = {"oldPassword": "old", "newPassword": "new"}
    sent = {name: request.form.get(field, "") for name, field in names.items()}
    try:
        body = form_body(PasswordChange, sent, LABELS)
        check_repeated(body.new_password, request.form.get("repeated", ""))
        present = login_attempt.from_request(current_username(), body.old_password)
        user = login.change_password(
            database(), present, body.new_password, login_attempt.password_cache()
        )
    except (TooManyFailures, Busy) as error:
        return render_template("password.html", error=str(error)), *status_of(error)
    except Refused as error:
        return render_template("password.html", error=str(error)), 400
    start_session(user)
    dismiss_all_banners()
    flash("The password is changed, and your other sessions have ended.")
    return redirect(url_for(".password"), 303)


@bp.post("/end-sessions")
def end_sessions() -> ResponseReturnValue:
    """Log this user out everywhere, here too."""
    with recorded(AuditType.PROFILE, "ended all sessions"):
        users.end_sessions(database(), current_username())
    end_session()
    return redirect(url_for("entry.login"), 303)
