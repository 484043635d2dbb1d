"""The API of high availability: /api/v1/high-availability and below."""

from flask import Blueprint, Flask, Response, jsonify, request
from flask.typing import ResponseReturnValue
from pydantic import Field

from plugins.ha.rights import HIGH_AVAILABILITY
from plugins.ha.web import node_client
from plugins.ha.web.join_command import join_command
from plugins.ha.web.load_balancer import load_balancer_file
from plugins.ha.web.responses import (
    ClusterAnswer,
    JoinAnswer,
    JoinTokenAnswer,
    OpenTokenAnswer,
)
from twistlock_console.common.errors import Refused
from twistlock_console.common.models import Body
from twistlock_console.web.openapi.api_call import ApiCall
from twistlock_console.web.openapi.bodies import json_body, optional_json_body
from twistlock_console.web.security.api import api_guard, without_forms

PREFIX = "/api/v1/high-availability"
bp = Blueprint("ha_api", __name__, url_prefix=PREFIX)
api_guard(bp, HIGH_AVAILABILITY)

# Hosts that join have a join token, and no account.
joining = Blueprint("ha_joining", __name__, url_prefix=f"{PREFIX}/join-requests")
without_forms(joining)


class SwitchoverBody(Body):
    """Where to switch over to; to the best standby when it is left out."""

    address: str | None = Field(None, max_length=64)


class JoinBody(Body):
    """What a host says of itself when it asks to join."""

    address: str = Field(max_length=64)
    version: str = Field(max_length=32)
    request: str = Field(max_length=8192)


def init_app(app: Flask) -> None:
    """Add the API calls."""
    app.register_blueprint(bp)
    app.register_blueprint(joining)


@bp.get("")
@ApiCall(answer=ClusterAnswer)
def cluster() -> ResponseReturnValue:
    """The nodes, who serves, and the latest changes of role."""
    return node_client.look()


@bp.get("/load-balancer/<kind>")
@ApiCall(answer=str, media="text/plain", raises=(400,))
def load_balancer(kind: str) -> ResponseReturnValue:
    """The configuration of a load balancer for this cluster, as a file."""
    return load_balancer_file(kind)


@bp.post("/apply")
@ApiCall()
def apply() -> ResponseReturnValue:
    """Admit the hosts that wait."""
    node_client.order("apply", {}, "admitted the waiting hosts to the cluster")
    return Response()


@bp.post("/switchover")
@ApiCall(body=SwitchoverBody, body_required=False)
def switchover() -> ResponseReturnValue:
    """Hand the role over."""
    body = optional_json_body(SwitchoverBody)
    node_client.order("switchover", {"address": body.address}, "asked for a switchover")
    return Response()


@bp.delete("/nodes/<address>")
@ApiCall()
def remove(address: str) -> ResponseReturnValue:
    """Remove a node, or turn down a host that waits."""
    node_client.order("remove", {"address": address}, f"removed the node {address}")
    return Response()


@bp.post("/join-token")
@ApiCall(answer=JoinTokenAnswer)
def join_token() -> ResponseReturnValue:
    """Make a token with which one host may ask to join."""
    made = node_client.order_join_token()
    return {**made, "command": join_command(node_client.settings(), made["token"])}


@bp.get("/join-tokens")
@ApiCall(answer=list[OpenTokenAnswer])
def join_tokens() -> ResponseReturnValue:
    """The join tokens that can still be used."""
    return jsonify(node_client.tokens())


@bp.delete("/join-tokens/<token_id>")
@ApiCall()
def revoke(token_id: str) -> ResponseReturnValue:
    """Let nobody use a join token again."""
    node_client.order(
        "revoke-token", {"id": token_id}, f"revoked join token {token_id}"
    )
    return Response()


@joining.post("")
@ApiCall(body=JoinBody, answer=dict[str, str])
def ask_to_join() -> ResponseReturnValue:
    """Note that a host asks to join."""
    body = json_body(JoinBody)
    if request.remote_addr != body.address:
        raise Refused(
            f"a host asks to join as {body.address} and comes from "
            f"{request.remote_addr}; set NODE_ADDRESS to the address by which the "
            "other nodes reach it, without address translation in between"
        )
    node_client.ask("join-requests", {**body.model_dump(), "token": _token()})
    return {}


@joining.get("/<address>")
@ApiCall(answer=JoinAnswer)
def answer_to_join(address: str) -> ResponseReturnValue:
    """What became of a host's request."""
    answer: dict[str, object] = node_client.ask(
        "join-answer", {"token": _token(), "address": address}
    )
    return answer


def _token() -> str:
    given = request.authorization
    if given is None or given.type != "bearer" or not given.token:
        raise Refused(
            "send the join token as a bearer token; copy the join command from "
            "Manage > System > High Availability"
        )
    return given.token
