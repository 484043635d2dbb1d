"""Defenders over the API: their names and settings, findings and rules."""

from flask import Blueprint, jsonify, request
from flask.typing import ResponseReturnValue
from pydantic import BaseModel

from twistlock_console.accounts.rights import Areas
from twistlock_console.common.errors import Refused
from twistlock_console.defenders.control import read_defender_settings
from twistlock_console.defenders.register import COLLECTION, count_connected
from twistlock_console.policies.host import read_policy
from twistlock_console.policies.host_body import HostPolicyBody
from twistlock_console.protocol import HostPolicy
from twistlock_console.web.actions.defenders import (
    DefenderSettingsBody,
    NamesBody,
    NamesResponse,
    allow_enrolment,
    change_names,
    change_settings,
    decommission,
    disallow_enrolment,
    names_response,
    scan,
)
from twistlock_console.web.actions.rules import replace_rules
from twistlock_console.web.common.database import database
from twistlock_console.web.lists.listing import ListSource
from twistlock_console.web.lists.registry import (
    COMPLIANCE,
    DEFENDERS,
    FILE_AUDITS,
    HOST_AUDITS,
    TROUBLES,
    defender_summary,
)
from twistlock_console.web.openapi.api_call import (
    ApiCall,
    ListCall,
    parse_json_body,
    read_json_body,
    register_list_call,
)
from twistlock_console.web.openapi.models import (
    ComplianceResponse,
    DefenderResponse,
    FileAuditResponse,
    HostAuditResponse,
    SummaryResponse,
    TroubleResponse,
)
from twistlock_console.web.security.guards import guard_api
from twistlock_console.web.security.sessions import current_username

bp = Blueprint("api_defenders", __name__)
guard_api(bp, Areas.DEFENDERS)
events_bp = Blueprint("api_defender_audits", __name__)
guard_api(events_bp, Areas.EVENTS)
policies_bp = Blueprint("api_policies", __name__)
guard_api(policies_bp, Areas.POLICIES)
names_bp = Blueprint("api_names", __name__)
guard_api(names_bp, Areas.DEFENDER_NAMES)
BLUEPRINTS = (bp, events_bp, policies_bp, names_bp)

register_list_call(
    bp,
    "/defenders",
    "defenders",
    ListSource(DEFENDERS),
    ListCall("List the Defenders.", DefenderResponse, csv="the Defenders"),
)
register_list_call(
    events_bp,
    "/audits/runtime/host",
    "host",
    ListSource(HOST_AUDITS, {"kind": "process"}),
    ListCall(
        "List the denied processes that Defenders found, the latest first.",
        HostAuditResponse,
        csv="the denied processes",
    ),
)
register_list_call(
    events_bp,
    "/audits/runtime/file-integrity",
    "files",
    ListSource(FILE_AUDITS, {"kind": "file"}),
    ListCall(
        "List the changes of watched files, the latest first.",
        FileAuditResponse,
        csv="the changes of watched files",
    ),
)
register_list_call(
    events_bp,
    "/audits/runtime/trouble",
    "troubles",
    ListSource(TROUBLES, {"kind": "trouble"}),
    ListCall(
        "List rules that Defenders could not enforce, the latest first.",
        TroubleResponse,
    ),
)
register_list_call(
    events_bp,
    "/audits/runtime/dropped",
    "dropped",
    ListSource(TROUBLES, {"kind": "dropped"}),
    ListCall(
        "List the events that Defenders had to drop because their outbox was full.",
        TroubleResponse,
    ),
)
register_list_call(
    events_bp,
    "/compliance/hosts",
    "compliance",
    ListSource(COMPLIANCE),
    ListCall(
        "List the latest run of the checks on each host.",
        ComplianceResponse,
        csv="the latest runs of the checks",
    ),
)


class NamesQuery(BaseModel):
    """Filter by connection: true, false, or null for all."""

    connected: bool | None = None


@bp.get("/defenders/names")
@ApiCall(query=NamesQuery, answer=list[str])
def names() -> ResponseReturnValue:
    """Return the names of all Defenders."""
    asked = request.args.get("connected", "")
    if asked not in {"", "true", "false"}:
        raise Refused("connected: give true or false")
    wanted = {"connected": asked == "true"} if asked else {}
    found = database()[COLLECTION].find(wanted, {}).sort("_id")
    return jsonify([each["_id"] for each in found])


@bp.get("/defenders/summary")
@ApiCall(answer=list[SummaryResponse])
def summarized() -> ResponseReturnValue:
    """Count the Defenders."""
    return jsonify(defender_summary(count_connected(database())))


@bp.delete("/defenders/<hostname>")
@ApiCall()
def remove(hostname: str) -> ResponseReturnValue:
    """Decommission a Defender: revoke its certificate; nothing is uninstalled."""
    decommission(hostname)
    return "", 200


@bp.post("/defenders/<hostname>/allow-enrolment")
@ApiCall(raises=(404,))
def allow(hostname: str) -> ResponseReturnValue:
    """Allow a host to enrol once under the name of an existing Defender, for a day.

    When the host enrols, the earlier certificates of the name are revoked.
    """
    allow_enrolment(hostname)
    return "", 200


@bp.delete("/defenders/<hostname>/allow-enrolment")
@ApiCall(raises=(404,))
def disallow(hostname: str) -> ResponseReturnValue:
    """Withdraw the permission to enrol under an existing name."""
    disallow_enrolment(hostname)
    return "", 200


@bp.post("/defenders/<hostname>/scan")
@ApiCall()
def run_checks(hostname: str) -> ResponseReturnValue:
    """Order a Defender to run its compliance checks now."""
    scan(hostname)
    return "", 200


@bp.get("/settings/defender")
@ApiCall(answer=DefenderSettingsBody)
def settings() -> ResponseReturnValue:
    """Return the settings of Defenders."""
    return jsonify(read_defender_settings(database()).to_json())


@bp.post("/settings/defender")
@ApiCall(body=DefenderSettingsBody)
def set_settings() -> ResponseReturnValue:
    """Replace the settings of Defenders; a field left out gets its default."""
    change_settings(read_json_body(DefenderSettingsBody))
    return "", 200


@policies_bp.get("/policies/runtime/host")
@ApiCall(answer=HostPolicy)
def host() -> ResponseReturnValue:
    """Return the rules for hosts, in their order."""
    return jsonify(read_policy(database()).to_json())


@policies_bp.put("/policies/runtime/host")
@ApiCall(body=HostPolicyBody)
def set_host() -> ResponseReturnValue:
    """Replace the rules for hosts; a field left out of a rule gets its default.

    A rule with a member that this Console does not enforce is refused, and nothing is
    stored.
    """
    replace_rules(parse_json_body(HostPolicyBody), current_username())
    return "", 200


@names_bp.get("/settings/certs", endpoint="names")
@ApiCall(answer=NamesResponse)
def certificate_names() -> ResponseReturnValue:
    """Return the names that were added to the certificates of all nodes."""
    return jsonify(names_response())


@names_bp.post("/settings/certs")
@ApiCall(body=NamesBody)
def set_names() -> ResponseReturnValue:
    """Replace the added names; each node renews its certificate within seconds."""
    change_names(read_json_body(NamesBody).console_san)
    return "", 200
