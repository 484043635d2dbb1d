"""Deployment of Defenders: script, package, and certificate of a new host."""

from pathlib import Path
from urllib.parse import urlsplit

from flask import Blueprint, Response, g, jsonify, request, send_file
from flask.typing import ResponseReturnValue
from pydantic import Field

from twistlock_console import __version__
from twistlock_console.accounts.errors import NotAllowed, NotLoggedIn
from twistlock_console.accounts.rights import Areas
from twistlock_console.audit import trail
from twistlock_console.audit.trail import AuditEntry, AuditType
from twistlock_console.common.errors import ConsoleError, Refused
from twistlock_console.common.models import Body
from twistlock_console.defenders.deployment import (
    PACKAGE,
    SCRIPT,
    addresses_for,
    check_token,
    console_names,
    defender_package,
    defender_script,
    refusal_script,
    token_id,
)
from twistlock_console.defenders.enrolment import EnrolmentRequest, enrol
from twistlock_console.pki.identity_files import AUTHORITY
from twistlock_console.web.common.database import current_settings, database
from twistlock_console.web.openapi.api_call import ApiCall, read_json_body
from twistlock_console.web.openapi.models import ApiResponse
from twistlock_console.web.security.guards import admit, assign_area, exempt_from_csrf

SHELL = "text/x-shellscript"
bp = Blueprint("api_deployment", __name__)
exempt_from_csrf(bp)
assign_area(bp, Areas.DEFENDER_SCRIPTS)
BLUEPRINTS = (bp,)


class EnrolBody(Body):
    """A Defender's name and its certificate request, as PEM.

    An enrolled host also sends its present certificate, and requests one for the same
    key.
    """

    defender: str = Field(max_length=64)
    request: str = Field(max_length=8192)
    certificate: str = Field(default="", max_length=8192)


class EnrolResponse(ApiResponse):
    """Certificates as PEM, and the addresses and port for Defenders."""

    certificate: str
    authority: str
    addresses: list[str]
    port: int


@bp.before_request
def _admit() -> ResponseReturnValue | None:
    """Admit a request with a deploy token, or with an account that may deploy."""
    g.deploy_token = ""
    given = request.authorization
    token = (given.token or "") if given and given.type == "bearer" else ""
    if not token.startswith("deploy-"):
        admit(Areas.DEFENDER_SCRIPTS)
        return None
    try:
        check_token(database(), token, use=request.method == "POST")
    except Refused as error:
        if request.method == "POST":
            _record(token, f"refused to enrol a Defender: {error}", failure=True)
        if request.path == SCRIPT:
            return Response(refusal_script(str(error)), mimetype=SHELL)
        raise NotLoggedIn(str(error)) from error
    g.deploy_token = token
    return None


@bp.get("/scripts/defender.sh")
@ApiCall(media=SHELL)
def script() -> ResponseReturnValue:
    """Return the script that installs a Defender; with -u it removes one."""
    own = current_settings()
    name = request.args.get("consoleaddr") or own.node_address
    text = defender_script(own, name, g.deploy_token, __version__)
    return Response(text, mimetype=SHELL)


@bp.get(f"/images/{PACKAGE}")
@ApiCall(media="application/x-tar")
def package() -> ResponseReturnValue:
    """Return the wheels from which a Defender is installed."""
    path = defender_package(current_settings().folders.images)
    return send_file(path, mimetype="application/x-tar", as_attachment=True)


@bp.post("/defenders/enrol")
@ApiCall(body=EnrolBody, answer=EnrolResponse)
def enrolled() -> ResponseReturnValue:
    """Issue the certificate with which a host's Defender connects."""
    if not g.deploy_token:
        raise NotAllowed
    own, body = current_settings(), read_json_body(EnrolBody)
    folder = own.folders.certificates
    names = console_names(own)
    # `hostname` is in lower case; the certificate may have upper case.
    asked = urlsplit(f"//{request.host}").hostname or ""
    chosen = next((name for name in names if name.lower() == asked), names[0])
    addresses = addresses_for(database(), own, chosen)
    return jsonify(
        certificate=_enrol(folder, body),
        authority=(folder / AUTHORITY).read_text(),
        addresses=addresses,
        port=own.communication_port,
    )


def _enrol(folder: Path, body: EnrolBody) -> str:
    """Enrol the host, and record the enrolment or the reason of the refusal."""
    asked = EnrolmentRequest(body.defender, body.request, body.certificate)
    try:
        done = enrol(database(), folder, asked)
    except ConsoleError as error:
        sentence = f"refused to enrol the Defender {body.defender}: {error}"
        _record(g.deploy_token, sentence, failure=True)
        raise
    _record(g.deploy_token, f"enrolled the Defender {body.defender}: {done.reason}")
    return done.certificate


def _record(token: str, status: str, *, failure: bool = False) -> None:
    """Record the use of a deploy token; an unknown token leaves no record."""
    if (known := token_id(database(), token)) is None:
        return
    entry = AuditEntry(
        type=AuditType.DEFENDER,
        username=f"deploy command {known}",
        source_ip=request.remote_addr or "unknown",
        api=request.path,
        status=status,
        failure=failure,
    )
    trail.record(database(), entry)
