"""The Console's names over the API, in a single shot: get, edit, post."""

from flask import Blueprint, jsonify
from flask.typing import ResponseReturnValue

from twistlock_console.accounts.rights import Areas
from twistlock_console.web.actions.defenders import (
    NamesAnswer,
    NamesBody,
    change_names,
    names_json,
)
from twistlock_console.web.openapi.api_call import ApiCall, json_body
from twistlock_console.web.security.guards import api_guard

bp = Blueprint("api_names", __name__)
api_guard(bp, Areas.DEFENDER_NAMES)


@bp.get("/settings/certs")
@ApiCall(answer=NamesAnswer)
def names() -> ResponseReturnValue:
    """Show the names that were added to the certificates of all nodes."""
    return jsonify(names_json())


@bp.post("/settings/certs")
@ApiCall(body=NamesBody)
def set_names() -> ResponseReturnValue:
    """Replace them; every node renews its certificate within seconds."""
    change_names(json_body(NamesBody).console_san)
    return "", 200
