"""Serve the API for a host that joins: script, release, and its request to join.

A join token gives access to all of it. The downloads are also open to accounts with the
right to them.
"""

import hashlib
import time
from pathlib import Path

from flask import Blueprint, Flask, Response, g, request, send_file
from flask.typing import ResponseReturnValue
from pydantic import Field

from plugins.ha.declarations import CONSOLE_SCRIPTS
from plugins.ha.messages import JoinRequestBody, JoinResponse, TokenUseBody
from plugins.ha.web import node_client
from plugins.ha.web.join_script import (
    Console,
    Release,
    join_script,
    own_pin,
    refusal_script,
)
from twistlock_console import __version__
from twistlock_console.accounts.errors import NotAllowed, NotLoggedIn
from twistlock_console.common.errors import Refused
from twistlock_console.common.models import Body
from twistlock_console.settings.keys import values_of
from twistlock_console.web.openapi.api_call import ApiCall, read_json_body
from twistlock_console.web.security.guards import admit, assign_area, exempt_from_csrf

TARBALL = "twistlock_console.tar.gz"
SCRIPT = "/scripts/console.sh"
bp = Blueprint("ha_downloads", __name__, url_prefix="/api/v1")
exempt_from_csrf(bp)
assign_area(bp, CONSOLE_SCRIPTS)

# Hosts that join have a join token, and no account.
joining = Blueprint(
    "ha_joining", __name__, url_prefix="/api/v1/high-availability/join-requests"
)
exempt_from_csrf(joining)


class JoinBody(Body):
    """The body of a request to join, as the host sends it."""

    address: str = Field(max_length=64)
    version: str = Field(max_length=32)
    request: str = Field(max_length=8192)


def init_app(app: Flask) -> None:
    """Register the downloads, and the API for hosts that join."""
    app.register_blueprint(bp)
    app.register_blueprint(joining)


@bp.before_request
def _admit() -> ResponseReturnValue | None:
    """Authenticate by a join token or an account; refuse others with the reason."""
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
        node_client.call("join-check", TokenUseBody(token=token, address=host))
        g.join_token = token
    except Refused as error:
        # It may be the token of an account, which may download the script.
        if token.count(".") != 2:
            raise
        try:
            admit(CONSOLE_SCRIPTS)
        except NotLoggedIn:
            raise error from None


@bp.get(SCRIPT)
@ApiCall(media="text/x-shellscript")
def script() -> ResponseReturnValue:
    """Download the script that prepares a host and lets it ask to join."""
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
    """Download the release that this node was installed from."""
    return send_file(_tarball(), mimetype="application/gzip", as_attachment=True)


def _tarball() -> Path:
    path = node_client.settings().folders.images / TARBALL
    if not path.exists():
        raise Refused(
            "The Console was not installed by twistlock.sh with high availability, so "
            f"it has no release to offer; put the release tarball at {path}."
        )
    return path


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@joining.post("")
@ApiCall(body=JoinBody, answer=dict[str, str])
def ask_to_join() -> ResponseReturnValue:
    """Store a host's request to join."""
    body = read_json_body(JoinBody)
    if request.remote_addr != body.address:
        raise Refused(
            f"a host asks to join as {body.address} and comes from "
            f"{request.remote_addr}; set NODE_ADDRESS to the address by which the "
            "other nodes reach it, without address translation in between"
        )
    order = JoinRequestBody(token=_token(), **body.model_dump())
    node_client.call("join-requests", order)
    return {}


@joining.get("/<address>")
@ApiCall(answer=JoinResponse)
def answer_to_join(address: str) -> ResponseReturnValue:
    """Return the outcome of a host's join request."""
    question = TokenUseBody(token=_token(), address=address)
    answer = node_client.call("join-answer", question)
    return JoinResponse.from_answer(answer).as_json()


def _token() -> str:
    given = request.authorization
    if given is None or given.type != "bearer" or not given.token:
        raise Refused(
            "send the join token as a bearer token; copy the join command from "
            "Manage > System > High Availability"
        )
    return given.token
