"""What a host that joins downloads: the join script, and the release tarball.

A join token opens both, and so does an account that may manage Defenders.
"""

import hashlib
import time
from pathlib import Path

from flask import Blueprint, Flask, Response, g, request, send_file
from flask.typing import ResponseReturnValue

from plugins.ha.rights import CONSOLE_SCRIPTS
from plugins.ha.web import node_client
from plugins.ha.web.join_command import own_pin
from plugins.ha.web.join_script import Console, Release, join_script, refusal_script
from twistlock_console import __version__
from twistlock_console.accounts.errors import NotAllowed, NotLoggedIn
from twistlock_console.common.errors import Refused
from twistlock_console.settings.export import values_of
from twistlock_console.web.openapi.api_call import ApiCall
from twistlock_console.web.security.api import admit, without_forms
from twistlock_console.web.security.areas import assign

TARBALL = "twistlock_console.tar.gz"
SCRIPT = "/scripts/console.sh"
bp = Blueprint("ha_downloads", __name__, url_prefix="/api/v1")
without_forms(bp)
assign(bp, CONSOLE_SCRIPTS)


def init_app(app: Flask) -> None:
    """Add the downloads."""
    app.register_blueprint(bp)


@bp.before_request
def _admit() -> ResponseReturnValue | None:
    """Let in who has a join token, or an account; tell others why not."""
    g.join_token = ""
    given = request.authorization
    token = given.token if given and given.type == "bearer" else None
    if token is None:
        admit(CONSOLE_SCRIPTS)
        return None
    try:
        _check(token)
    except (Refused, NotAllowed) as error:
        if request.path.endswith(SCRIPT):
            return Response(refusal_script(str(error)), mimetype="text/x-shellscript")
        raise
    return None


def _check(token: str) -> None:
    try:
        host = request.remote_addr or ""
        node_client.ask("join-check", {"token": token, "address": host})
        g.join_token = token
    except Refused as error:
        # It may be the token of an account, which may read the script.
        if token.count(".") != 2:
            raise
        try:
            admit(CONSOLE_SCRIPTS)
        except NotLoggedIn:
            raise error from None


@bp.get(SCRIPT)
@ApiCall(media="text/x-shellscript")
def script() -> ResponseReturnValue:
    """Give the script that prepares a host, and lets it ask to join."""
    own = node_client.settings()
    console = Console(
        address=own.node_address,
        port=own.management_port_https,
        pin=own_pin(own),
        token=g.join_token,
    )
    try:
        release = Release(__version__, _sha256(_tarball()))
    except Refused as error:
        return Response(refusal_script(str(error)), mimetype="text/x-shellscript")
    text = join_script(console, release, values_of(own), int(time.time()))
    return Response(text, mimetype="text/x-shellscript")


@bp.get(f"/images/{TARBALL}")
@ApiCall(media="application/gzip")
def tarball() -> ResponseReturnValue:
    """Give the release that this node was installed from."""
    return send_file(_tarball(), mimetype="application/gzip", as_attachment=True)


def _tarball() -> Path:
    path = node_client.settings().folders.images / TARBALL
    if not path.exists():
        raise Refused(
            "The Console was not installed by twistlock.sh with high availability, so "
            f"it has no release to hand on; put the release tarball at {path}."
        )
    return path


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
