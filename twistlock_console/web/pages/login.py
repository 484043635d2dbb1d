"""Sign-up on the first run, login and logout."""

from urllib.parse import urlsplit

from flask import (
    Blueprint,
    g,
    make_response,
    redirect,
    render_template,
    request,
    url_for,
)
from flask.typing import ResponseReturnValue

from twistlock_console.accounts import login, users
from twistlock_console.accounts.credential_rules import check_repeated
from twistlock_console.accounts.errors import TooManyFailures, WrongCredentials
from twistlock_console.accounts.users import User
from twistlock_console.audit.trail import AuditType
from twistlock_console.common.errors import Busy, ConsoleError, Refused
from twistlock_console.web.actions.audit import record_change
from twistlock_console.web.common.database import database
from twistlock_console.web.common.errors import status_and_headers
from twistlock_console.web.openapi.api_call import read_form
from twistlock_console.web.security import login_attempt
from twistlock_console.web.security.login_attempt import (
    LoginCredentials,
    remember_device,
)
from twistlock_console.web.security.sessions import (
    end_session,
    session_user,
    start_session,
)
from twistlock_console.web.ui.layout import dismiss_all_banners, first_visible_endpoint

bp = Blueprint("login", __name__)
BLUEPRINTS = (bp,)


@bp.get("/")
def home() -> ResponseReturnValue:
    """Redirect to the login page, which leads to sign-up or to the first page."""
    return redirect(url_for(".login"), 303)


@bp.get("/signup")
def signup_page() -> ResponseReturnValue:
    """Show the form for the first administrator; only before sign-up."""
    if users.is_initialized(database()):
        return redirect(url_for(".login"), 303)
    return render_template("signup.html")


@bp.post("/signup")
def signup() -> ResponseReturnValue:
    """Create the first administrator and log in."""
    try:
        body = read_form(LoginCredentials, _credentials())
        check_repeated(body.password, request.form.get("repeated", ""))
        user = login.sign_up(
            database(), login_attempt.from_request(body.username, body.password)
        )
    except (Refused, Busy) as error:
        return _render_with_error("signup.html", error), *status_and_headers(error)
    return _open_first_page(user)


@bp.get("/login", endpoint="login")
def login_page() -> ResponseReturnValue:
    """Show the login form; redirect to sign-up, or past a valid session."""
    if not users.is_initialized(database()):
        return redirect(url_for(".signup_page"), 303)
    if user := session_user():
        return _open_first_page(user, new_session=False)
    return render_template("login.html", back=request.args.get("next", ""))


@bp.post("/login")
def log_in() -> ResponseReturnValue:
    """Log a user in; a failure does not say which part was wrong."""
    try:
        body = read_form(LoginCredentials, _credentials())
        sent = login_attempt.from_request(body.username, body.password)
        user = login.log_in(database(), sent, login_attempt.password_cache())
    except (TooManyFailures, Busy) as error:
        return _render_with_error("login.html", error), *status_and_headers(error)
    except Refused:
        return _render_with_error("login.html", WrongCredentials()), 401
    return _open_first_page(user)


@bp.post("/logout")
def logout() -> ResponseReturnValue:
    """End the session."""
    if user := session_user():
        g.account = user
        record_change(AuditType.LOGIN, "logged out")
    end_session()
    return redirect(url_for(".login"), 303)


def local_path(target: str) -> str | None:
    """Return *target* if it is a path on this Console, else None.

    It guards against redirects to other sites.
    """
    try:
        parts = urlsplit(target)
    except ValueError:
        return None
    ours = target.startswith("/") and not target.startswith(("//", "/\\"))
    plain = target.isprintable() and "\\" not in target
    return target if ours and plain and not (parts.scheme or parts.netloc) else None


def _open_first_page(user: User, *, new_session: bool = True) -> ResponseReturnValue:
    if new_session:
        start_session(user)
        dismiss_all_banners()
    g.account = user
    target = request.form.get("next") or request.args.get("next") or ""
    response = make_response(
        redirect(local_path(target) or url_for(first_visible_endpoint()), 303)
    )
    if new_session:
        remember_device(response, user.username)
    return response


def _credentials() -> dict[str, str]:
    return {name: request.form.get(name, "") for name in ("username", "password")}


def _render_with_error(template: str, error: ConsoleError) -> str:
    return render_template(
        template,
        error=str(error),
        username=request.form.get("username", "")[:64],
        back=request.form.get("next", ""),
    )
