"""The description of the API, for people's tools."""

from flask import Blueprint, jsonify
from flask.typing import ResponseReturnValue

from twistlock_console.accounts.rights import Areas
from twistlock_console.web.openapi.api_call import ApiCall
from twistlock_console.web.openapi.document import api_document
from twistlock_console.web.security.guards import api_guard

bp = Blueprint("api_description", __name__)
api_guard(bp, Areas.OWN_ACCOUNT)


@bp.get("/openapi.json")
@ApiCall(answer=dict[str, object])
def openapi() -> ResponseReturnValue:
    """Describe the API as OpenAPI 3.1 has it."""
    return jsonify(api_document())
