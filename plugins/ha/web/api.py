"""Serve the API of high availability, below /api/v1/high-availability."""

from flask import Blueprint, Flask, Response, abort, jsonify
from flask.typing import ResponseReturnValue
from pydantic import Field

from plugins.ha.declarations import HIGH_AVAILABILITY
from plugins.ha.load_balancer.files import for_cluster
from plugins.ha.load_balancer.templates import FILES, LoadBalancerKind
from plugins.ha.messages import (
    AddressBody,
    ClusterResponse,
    JoinTokenResponse,
    OpenTokenResponse,
    TargetBody,
    TokenIdBody,
)
from plugins.ha.web import node_client
from plugins.ha.web.join_script import join_command
from twistlock_console.common.models import Body
from twistlock_console.node_api.messages import NodeMessage
from twistlock_console.web.openapi.api_call import ApiCall, read_optional_json_body
from twistlock_console.web.security.guards import guard_api

PREFIX = "/api/v1/high-availability"
bp = Blueprint("ha_api", __name__, url_prefix=PREFIX)
guard_api(bp, HIGH_AVAILABILITY)


class SwitchoverBody(Body):
    """The body of a switchover: the target, or None for the best standby."""

    address: str | None = Field(None, max_length=64)


def init_app(app: Flask) -> None:
    """Register the API calls."""
    app.register_blueprint(bp)


@bp.get("")
@ApiCall(answer=ClusterResponse)
def cluster() -> ResponseReturnValue:
    """List the nodes, the serving node and the latest changes of role."""
    return node_client.get_cluster().as_json()


@bp.get("/load-balancer/<kind>")
@ApiCall(answer=str, media="text/plain", raises=(400,))
def load_balancer(kind: str) -> ResponseReturnValue:
    """Download the configuration of a load balancer for this cluster."""
    return load_balancer_file(kind)


@bp.post("/apply")
@ApiCall()
def apply() -> ResponseReturnValue:
    """Admit the waiting hosts."""
    node_client.call_audited(
        "apply", NodeMessage(), "admitted the waiting hosts to the cluster"
    )
    return Response()


@bp.post("/switchover")
@ApiCall(body=SwitchoverBody, body_required=False)
def switchover() -> ResponseReturnValue:
    """Switch over to another node."""
    body = read_optional_json_body(SwitchoverBody)
    target = TargetBody(address=body.address)
    node_client.call_audited("switchover", target, "asked for a switchover")
    return Response()


@bp.delete("/nodes/<address>")
@ApiCall()
def remove(address: str) -> ResponseReturnValue:
    """Remove a node, or reject a waiting host."""
    body = AddressBody(address=address)
    node_client.call_audited("remove", body, f"removed the node {address}")
    return Response()


@bp.post("/join-token")
@ApiCall(answer=JoinTokenResponse)
def join_token() -> ResponseReturnValue:
    """Create a token with which one host may ask to join."""
    made = node_client.make_join_token()
    command = join_command(node_client.settings(), made.token)
    return JoinTokenResponse(
        token=made.token, expires_at=made.expires_at, command=command
    ).as_json()


@bp.get("/join-tokens")
@ApiCall(answer=list[OpenTokenResponse])
def join_tokens() -> ResponseReturnValue:
    """List the valid join tokens."""
    return jsonify([token.as_json() for token in node_client.list_tokens()])


@bp.delete("/join-tokens/<token_id>")
@ApiCall()
def revoke(token_id: str) -> ResponseReturnValue:
    """Revoke a join token."""
    body = TokenIdBody(id=token_id)
    node_client.call_audited("revoke-token", body, f"revoked join token {token_id}")
    return Response()


def load_balancer_file(kind: str) -> Response:
    """Return the file of this *kind* as a download, for the page and the API."""
    if kind not in list(LoadBalancerKind):
        abort(404)
    wanted = LoadBalancerKind(kind)
    addresses = node_client.get_cluster().joined_addresses
    text = for_cluster(wanted, node_client.settings(), addresses)
    answer = Response(text, mimetype="text/plain")
    answer.headers.set("Content-Disposition", "attachment", filename=FILES[wanted])
    return answer
