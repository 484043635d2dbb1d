"""The Console's version over the API."""

from flask import Blueprint, jsonify
from flask.typing import ResponseReturnValue

from twistlock_console import __version__
from twistlock_console.accounts.rights import Areas
from twistlock_console.web.openapi.api_call import ApiCall
from twistlock_console.web.security.guards import api_guard

bp = Blueprint("api_version", __name__)
api_guard(bp, Areas.OWN_ACCOUNT)


@bp.get("/version")
@ApiCall(answer=str)
def version() -> ResponseReturnValue:
    """Give the version as a JSON string."""
    return jsonify(__version__)
