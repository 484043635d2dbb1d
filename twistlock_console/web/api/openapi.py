"""The description of the API, for people's tools."""

from flask import Blueprint, jsonify
from flask.typing import ResponseReturnValue

from twistlock_console.accounts.rights import Area
from twistlock_console.web.api_auth import api_guard
from twistlock_console.web.described import ApiCall
from twistlock_console.web.openapi import api_document

bp = Blueprint("api_description", __name__)
api_guard(bp, Area.OWN_ACCOUNT)


@bp.get("/openapi.json")
@ApiCall(answer=dict[str, object])
def openapi() -> ResponseReturnValue:
    """Describe the API as OpenAPI 3.1 has it."""
    return jsonify(api_document())
