"""The user's own account: password, sessions, and preferences of the browser."""

from urllib.parse import urlsplit

from flask import Blueprint, flash, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from werkzeug.wrappers import Response

from twistlock_console.accounts import login, users
from twistlock_console.accounts.credential_rules import check_repeated
from twistlock_console.accounts.errors import TooManyFailures
from twistlock_console.accounts.rights import Areas
from twistlock_console.audit.trail import AuditType
from twistlock_console.common.errors import Busy, Refused
from twistlock_console.web.actions.audit import audited
from twistlock_console.web.common.database import database
from twistlock_console.web.common.errors import status_and_headers
from twistlock_console.web.openapi.api_call import read_form
from twistlock_console.web.openapi.models import PasswordChange
from twistlock_console.web.pages.login import local_path
from twistlock_console.web.security import login_attempt
from twistlock_console.web.security.guards import guard_pages
from twistlock_console.web.security.sessions import (
    current_username,
    end_session,
    start_session,
)
from twistlock_console.web.ui.layout import (
    APPEARANCE_COOKIE,
    APPEARANCES,
    dismiss_all_banners,
    dismiss_banners,
    pending_banners,
)

bp = Blueprint("profile", __name__, url_prefix="/profile")
guard_pages(bp, Areas.OWN_ACCOUNT)
#: Preferences: light or dark for this browser, dismissed banners for this session.
preferences_bp = Blueprint("preferences", __name__, url_prefix="/profile")
guard_pages(preferences_bp, Areas.OWN_ACCOUNT)
BLUEPRINTS = (bp, preferences_bp)

LABELS = {"oldPassword": "Present password", "newPassword": "New password"}
ONE_YEAR_S = 31_536_000
#: A page that was opened before an upgrade polls the path of the earlier release. The
#: decorator nearest to the view decides the path that url_for gives.
OLD_BANNERS_PATH = "/told"


@bp.get("/password")
def password() -> ResponseReturnValue:
    """Show the form to change the password."""
    return render_template("password.html")


@bp.post("/password")
def change_password() -> ResponseReturnValue:
    """Change the password; all other sessions end."""
    names = {"oldPassword": "old", "newPassword": "new"}
    sent = {name: request.form.get(field, "") for name, field in names.items()}
    try:
        body = read_form(PasswordChange, sent, LABELS)
        check_repeated(body.new_password, request.form.get("repeated", ""))
        present = login_attempt.from_request(current_username(), body.old_password)
        user = login.change_password(
            database(), present, body.new_password, login_attempt.password_cache()
        )
    except (TooManyFailures, Busy) as error:
        return render_template("password.html", error=str(error)), *status_and_headers(
            error
        )
    except Refused as error:
        return render_template("password.html", error=str(error)), 400
    start_session(user)
    dismiss_all_banners()
    flash("The password is changed, and your other sessions have ended.")
    return redirect(url_for(".password"), 303)


@bp.post("/end-sessions")
def end_sessions() -> ResponseReturnValue:
    """End all sessions of this user, including this one."""
    with audited(AuditType.PROFILE, "ended all sessions"):
        users.end_sessions(database(), current_username())
    end_session()
    return redirect(url_for("login.login"), 303)


@preferences_bp.get(OLD_BANNERS_PATH)
@preferences_bp.get("/banners")
def banners() -> ResponseReturnValue:
    """Return the pending banners; 204 if the page shows exactly these.

    An open page polls this. Its query `shown` has the keys of the banners on it.
    """
    keys = [banner.key for banner in pending_banners()]
    if ",".join(keys) == request.args.get("shown", ""):
        return "", 204
    return render_template("banners.html")


@preferences_bp.post(OLD_BANNERS_PATH)
@preferences_bp.post("/banners")
def dismiss_banner() -> ResponseReturnValue:
    """Dismiss a banner for this session."""
    dismiss_banners(request.form.get("key", "")[:64])
    return _redirect_back()


@preferences_bp.post("/appearance")
def set_appearance() -> ResponseReturnValue:
    """Set light, dark or the browser's default for this browser."""
    chosen = request.form.get("appearance", "")
    if chosen not in APPEARANCES:
        raise Refused("appearance: choose light or dark, or leave it empty")
    response = _redirect_back()
    response.set_cookie(
        APPEARANCE_COOKIE,
        chosen,
        max_age=ONE_YEAR_S if chosen else 0,
        secure=True,
        httponly=True,
        samesite="Lax",
    )
    return response


def _redirect_back() -> Response:
    """Redirect to the page that the form was on."""
    came = urlsplit(request.referrer or "")
    page = local_path(f"{came.path}?{came.query}".rstrip("?"))
    ours = page if came.netloc == request.host else None
    return redirect(ours or url_for("login.home"), 303)
