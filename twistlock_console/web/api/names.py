"""The Console's names over the API, in a single shot: get, edit, post."""

from flask import Blueprint, jsonify
from flask.typing import ResponseReturnValue

from twistlock_console.accounts.rights import Area
from twistlock_console.web.api_auth import api_guard
from twistlock_console.web.bodies import json_body
from twistlock_console.web.described import ApiCall
from twistlock_console.web.name_changes import (
    NamesAnswer,
    NamesBody,
    as_json,
    change_names,
)

bp = Blueprint("api_names", __name__)
api_guard(bp, Area.DEFENDER_NAMES)


@bp.get("/settings/certs")
@ApiCall(answer=NamesAnswer)
def names() -> ResponseReturnValue:
    """Show the names that were added to the certificates of all nodes."""
    return jsonify(as_json())


@bp.post("/settings/certs")
@ApiCall(body=NamesBody)
def set_names() -> ResponseReturnValue:
    """Replace them; every node renews its certificate within seconds."""
    change_names(json_body(NamesBody).console_san)
    return "", 200
