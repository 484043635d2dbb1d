"""The Defenders over the API."""

from flask import Blueprint, jsonify, request
from flask.typing import ResponseReturnValue
from pydantic import BaseModel

from twistlock_console.accounts.rights import Areas
from twistlock_console.common.errors import Refused
from twistlock_console.defenders.control import read_defender_settings
from twistlock_console.defenders.register import COLLECTION, count_connected
from twistlock_console.web.actions.defenders import (
    DefenderSettingsBody,
    allow_enrolment,
    change_settings,
    decommission,
    disallow_enrolment,
    scan,
)
from twistlock_console.web.common.database import database
from twistlock_console.web.lists.listing import download, fetch
from twistlock_console.web.lists.registry import DEFENDERS, defender_summary
from twistlock_console.web.openapi.api_call import ApiCall, json_body
from twistlock_console.web.openapi.models import (
    DefenderAnswer,
    DefenderSettingsAnswer,
    SummaryAnswer,
)
from twistlock_console.web.security.guards import api_guard

bp = Blueprint("api_defenders", __name__)
api_guard(bp, Areas.DEFENDERS)


class NamesQuery(BaseModel):
    """Only those that are connected, or are not."""

    connected: bool | None = None


@bp.get("/defenders")
@ApiCall(listing=DEFENDERS, answer=DefenderAnswer)
def defenders() -> ResponseReturnValue:
    """List the Defenders."""
    return fetch(database(), DEFENDERS, request.args).as_json()


@bp.get("/defenders/download")
@ApiCall(listing=DEFENDERS, media="text/csv")
def defenders_csv() -> ResponseReturnValue:
    """Give the Defenders as a CSV file."""
    return download(database(), DEFENDERS, request.args)


@bp.get("/defenders/names")
@ApiCall(query=NamesQuery, answer=list[str])
def names() -> ResponseReturnValue:
    """Give the names of all Defenders."""
    asked = request.args.get("connected", "")
    if asked not in {"", "true", "false"}:
        raise Refused("connected: give true or false")
    wanted = {"connected": asked == "true"} if asked else {}
    found = database()[COLLECTION].find(wanted, {}).sort("_id")
    return jsonify([each["_id"] for each in found])


@bp.get("/defenders/summary")
@ApiCall(answer=list[SummaryAnswer])
def summarized() -> ResponseReturnValue:
    """Count the Defenders."""
    return jsonify(defender_summary(count_connected(database())))


@bp.delete("/defenders/<hostname>")
@ApiCall()
def remove(hostname: str) -> ResponseReturnValue:
    """Decommission a Defender: its certificate is revoked; nothing is uninstalled."""
    decommission(hostname)
    return "", 200


@bp.post("/defenders/<hostname>/allow-enrolment")
@ApiCall(raises=(404,))
def allow(hostname: str) -> ResponseReturnValue:
    """Let a host enrol under the name of an existing Defender, once, within a day.

    The certificates that the name has are revoked when the host enrols.
    """
    allow_enrolment(hostname)
    return "", 200


@bp.delete("/defenders/<hostname>/allow-enrolment")
@ApiCall(raises=(404,))
def disallow(hostname: str) -> ResponseReturnValue:
    """Take that permission back before it is used."""
    disallow_enrolment(hostname)
    return "", 200


@bp.post("/defenders/<hostname>/scan")
@ApiCall()
def run_checks(hostname: str) -> ResponseReturnValue:
    """Have a Defender run its compliance checks now."""
    scan(hostname)
    return "", 200


@bp.get("/settings/defender")
@ApiCall(answer=DefenderSettingsAnswer)
def settings() -> ResponseReturnValue:
    """Show the settings of Defenders."""
    return jsonify(read_defender_settings(database()).to_json())


@bp.post("/settings/defender")
@ApiCall(body=DefenderSettingsBody)
def set_settings() -> ResponseReturnValue:
    """Replace the settings of Defenders; what is left out goes back to its default."""
    change_settings(json_body(DefenderSettingsBody))
    return "", 200
