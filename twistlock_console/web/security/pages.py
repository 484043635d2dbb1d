"""Who may see the pages: Flask-Login behind guards of whole blueprints."""

from functools import partial
from typing import cast

from flask import (
    Blueprint,
    Flask,
    Response,
    current_app,
    g,
    redirect,
    request,
    session,
    url_for,
)
from flask.typing import ResponseReturnValue
from flask_login import LoginManager, login_user
from flask_login import current_user as visitor

from twistlock_console.accounts import session_revocations
from twistlock_console.accounts.rights import Area, may
from twistlock_console.accounts.sessions import Age, Session, age
from twistlock_console.accounts.users import User
from twistlock_console.web.common.database import database
from twistlock_console.web.security.api import api_guard
from twistlock_console.web.security.areas import areas_of, assign, check_right
from twistlock_console.web.security.sessions import (
    current_user,
    current_username,
    logon_cache,
    now,
    user_of,
)
from twistlock_console.web.ui import banners

__all__ = [
    "api_guard",
    "begin",
    "current_user",
    "current_username",
    "end",
    "init_app",
    "may_change",
    "may_see",
    "pages_for",
    "visiting_user",
]

COOKIE_PART = "login"


class Visitor:
    """A user, as Flask-Login wants one."""

    is_authenticated = True
    is_active = True
    is_anonymous = False

    def __init__(self, user: User) -> None:
        self.user = user

    def get_id(self) -> str:
        """Give what Flask-Login keeps in the cookie."""
        return self.user.username


def init_app(app: Flask) -> None:
    """Let the pages know their visitors."""
    manager = LoginManager()
    # Its check of the address would log people out when the load balancer changes.
    manager.session_protection = None
    # Templates ask for the user themselves: an error page must not need the database.
    manager.init_app(app, add_context_processor=False)
    # We set no such cookie. Looking for it would touch the session with every answer,
    # and browsers would keep static files for one state of the session only.
    app.after_request_funcs[None].remove(manager._update_remember_cookie)
    manager.user_loader(_load)


def pages_for(bp: Blueprint, area: Area) -> None:
    """Show all of *bp* to those who may read *area*; take changes from who may."""
    assign(bp, area)
    bp.before_request(partial(_admit, area))


def may_see(blueprint: str) -> bool:
    """Tell whether the present user may see the pages of *blueprint*."""
    area = areas_of(current_app).get(blueprint)
    return area is not None and may(current_user().role, area, change=False)


def may_change(blueprint: str) -> bool:
    """Tell whether the present user may change what the pages of *blueprint* show."""
    area = areas_of(current_app).get(blueprint)
    return area is not None and may(current_user().role, area, change=True)


def begin(user: User) -> None:
    """Log *user* in: a new session, and nothing of the old one in it."""
    session.clear()
    _keep(Session.begin(user, now()))
    banners.begin()
    login_user(Visitor(user))


def end() -> None:
    """Log the present user out, here and for anyone who copied the cookie."""
    if found := _kept():
        session_revocations.revoke(database(), found.id)
    session.clear()


def visiting_user() -> User | None:
    """Give the user whose living session the request carries, on any page."""
    return cast(Visitor, visitor).user if visitor.is_authenticated else None


def _admit(area: Area) -> ResponseReturnValue | None:
    if (user := visiting_user()) is None:
        return _to_login()
    g.account = user
    _renew()
    check_right(user, area)
    return None


def _to_login() -> ResponseReturnValue:
    if "HX-Request" in request.headers:
        return Response(status=401, headers={"HX-Refresh": "true"})
    back = request.full_path.rstrip("?") if request.method == "GET" else None
    return redirect(url_for("entry.login", next=back), 303)


def _renew() -> None:
    """Count the inactivity anew; a page that refreshes itself is no activity."""
    found = _kept()
    timeout = logon_cache().get().session_timeout_sec
    if found is None or "HX-Request" in request.headers:
        return
    if age(found, now(), timeout) is Age.RENEW:
        _keep(found.renewed(now()))


def _load(username: str) -> Visitor | None:
    found = _kept()
    if found is None or found.username != username:
        return None
    user = user_of(found)
    return Visitor(user) if user else None


def _keep(new: Session) -> None:
    session[COOKIE_PART] = [new.id, new.username, new.epoch, new.issued]


def _kept() -> Session | None:
    part = session.get(COOKIE_PART)
    return Session(*part) if part else None
