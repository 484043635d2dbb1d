"""What Defenders found, over the API."""

from flask import Blueprint, Response, request
from flask.typing import ResponseReturnValue

from twistlock_console.accounts.rights import Areas
from twistlock_console.web.common.database import database
from twistlock_console.web.lists.listing import download, fetch
from twistlock_console.web.lists.registry import (
    COMPLIANCE,
    FILE_AUDITS,
    HOST_AUDITS,
    TROUBLES,
)
from twistlock_console.web.lists.schema import Listable
from twistlock_console.web.openapi.api_call import ApiCall
from twistlock_console.web.openapi.models import (
    ComplianceAnswer,
    FileAuditAnswer,
    HostAuditAnswer,
    TroubleAnswer,
)
from twistlock_console.web.security.guards import api_guard

bp = Blueprint("api_defender_audits", __name__)
api_guard(bp, Areas.EVENTS)


@bp.get("/audits/runtime/host")
@ApiCall(listing=HOST_AUDITS, answer=HostAuditAnswer)
def host() -> ResponseReturnValue:
    """List the denied processes that Defenders found, the latest first."""
    return _listed(HOST_AUDITS, "process")


@bp.get("/audits/runtime/host/download")
@ApiCall(listing=HOST_AUDITS, media="text/csv")
def host_csv() -> ResponseReturnValue:
    """Give the denied processes as a CSV file."""
    return _downloaded(HOST_AUDITS, "process")


@bp.get("/audits/runtime/file-integrity")
@ApiCall(listing=FILE_AUDITS, answer=FileAuditAnswer)
def files() -> ResponseReturnValue:
    """List the changes of watched files, the latest first."""
    return _listed(FILE_AUDITS, "file")


@bp.get("/audits/runtime/file-integrity/download")
@ApiCall(listing=FILE_AUDITS, media="text/csv")
def files_csv() -> ResponseReturnValue:
    """Give the changes of watched files as a CSV file."""
    return _downloaded(FILE_AUDITS, "file")


@bp.get("/audits/runtime/trouble")
@ApiCall(listing=TROUBLES, answer=TroubleAnswer)
def troubles() -> ResponseReturnValue:
    """List what Defenders could not enforce, the latest first."""
    return _listed(TROUBLES, "trouble")


@bp.get("/audits/runtime/dropped")
@ApiCall(listing=TROUBLES, answer=TroubleAnswer)
def dropped() -> ResponseReturnValue:
    """List the events that Defenders had to drop because their outbox was full."""
    return _listed(TROUBLES, "dropped")


@bp.get("/compliance/hosts")
@ApiCall(listing=COMPLIANCE, answer=ComplianceAnswer)
def compliance() -> ResponseReturnValue:
    """List the latest run of the checks on each host."""
    return fetch(database(), COMPLIANCE, request.args).as_json()


@bp.get("/compliance/hosts/download")
@ApiCall(listing=COMPLIANCE, media="text/csv")
def compliance_csv() -> ResponseReturnValue:
    """Give the latest runs of the checks as a CSV file."""
    return download(database(), COMPLIANCE, request.args)


def _listed(listable: Listable, kind: str) -> Response:
    given = {**request.args.to_dict(), "kind": kind}
    return fetch(database(), listable, given).as_json()


def _downloaded(listable: Listable, kind: str) -> Response:
    return download(database(), listable, {**request.args.to_dict(), "kind": kind})
