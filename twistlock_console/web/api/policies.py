"""The runtime policy for hosts over the API."""

from flask import Blueprint, jsonify
from flask.typing import ResponseReturnValue

from twistlock_console.accounts.rights import Areas
from twistlock_console.policies.host import read_policy
from twistlock_console.policies.host_body import HostPolicyBody
from twistlock_console.protocol import HostPolicy
from twistlock_console.web.actions.rules import replace_rules
from twistlock_console.web.common.database import database
from twistlock_console.web.openapi.api_call import ApiCall, plain_json
from twistlock_console.web.security.guards import api_guard
from twistlock_console.web.security.sessions import current_username

bp = Blueprint("api_policies", __name__)
api_guard(bp, Areas.POLICIES)


@bp.get("/policies/runtime/host")
@ApiCall(answer=HostPolicy)
def host() -> ResponseReturnValue:
    """Give the rules for hosts, in their order."""
    return jsonify(read_policy(database()).to_json())


@bp.put("/policies/runtime/host")
@ApiCall(body=HostPolicyBody)
def set_host() -> ResponseReturnValue:
    """Replace the rules for hosts; of a rule, what is left out has its default.

    What this Console does not enforce is refused, and nothing is stored.
    """
    replace_rules(plain_json(HostPolicyBody), current_username())
    return "", 200
