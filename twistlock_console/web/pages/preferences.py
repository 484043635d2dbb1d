"""What a reader chooses for this browser: light or dark, and messages put away."""

from urllib.parse import urlsplit

from flask import Blueprint, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from werkzeug.wrappers import Response

from twistlock_console.accounts.rights import Areas
from twistlock_console.common.errors import Refused
from twistlock_console.web.pages.login import local_path
from twistlock_console.web.security.guards import pages_for
from twistlock_console.web.ui import layout
from twistlock_console.web.ui.layout import APPEARANCE, APPEARANCES

bp = Blueprint("comfort", __name__, url_prefix="/profile")
pages_for(bp, Areas.OWN_ACCOUNT)

ONE_YEAR = 31_536_000


@bp.get("/told")
def told() -> ResponseReturnValue:
    """Show the banners anew, if they are others than the page already *shows*."""
    keys = [banner.key for banner in layout.pending_banners()]
    if ",".join(keys) == request.args.get("shown", ""):
        return "", 204
    return render_template("told.html")


@bp.post("/told")
def put_away() -> ResponseReturnValue:
    """Tell this session no more of what its reader has read."""
    layout.dismiss_banners(request.form.get("key", "")[:64])
    return _back()


@bp.post("/appearance")
def appear() -> ResponseReturnValue:
    """Make this browser show the Console light, dark, or as the browser wishes."""
    chosen = request.form.get("appearance", "")
    if chosen not in APPEARANCES:
        raise Refused("appearance: choose light or dark, or leave it empty")
    response = _back()
    response.set_cookie(
        APPEARANCE,
        chosen,
        max_age=ONE_YEAR if chosen else 0,
        secure=True,
        httponly=True,
        samesite="Lax",
    )
    return response


def _back() -> Response:
    """Lead back to the page that the form was on."""
    came = urlsplit(request.referrer or "")
    page = local_path(f"{came.path}?{came.query}".rstrip("?"))
    ours = page if came.netloc == request.host else None
    return redirect(ours or url_for("entry.home"), 303)
