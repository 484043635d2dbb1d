"""Serve high availability on the node API, to peers, pages and commands."""

from ipaddress import IPv4Address
from pathlib import Path

from flask import Blueprint, request
from flask.typing import ResponseReturnValue

from plugins.ha.membership.join_client import cluster_secrets
from plugins.ha.membership.rules import JoinRequest, is_behind_router
from plugins.ha.messages import (
    AddressBody,
    AdmittedResponse,
    JoinRequestBody,
    MetricsResponse,
    NewTokenResponse,
    TargetBody,
    TokenIdBody,
    TokenOwnerBody,
    TokenUseBody,
)
from plugins.ha.peers.heartbeats import heartbeat_payload
from plugins.ha.replication.sync_source import set_sync_source
from plugins.ha.runtime import HaRuntime
from twistlock_console.common.clock import boottime_ns
from twistlock_console.common.errors import Refused, Removed
from twistlock_console.node_api.server import caller, sent_json
from twistlock_console.pki.certificates import fingerprint

ROUTES = Path("/proc/net/route")


def node_routes(runtime: HaRuntime) -> Blueprint:
    """Return the blueprint of /v1/ha, which answers from *runtime*."""
    bp = Blueprint("ha", __name__, url_prefix="/v1/ha")

    @bp.before_app_request
    def refuse_removed_nodes() -> None:
        # On all of the node API; but a removed node may query its own state.
        asks_itself = caller().address == runtime.settings.node_address
        if asks_itself and request.blueprint != bp.name:
            return
        if runtime.node_keys.is_removed(caller().fingerprint):
            raise Removed(f"{caller().address} was removed from this cluster.")
        if runtime.node_keys.was_removed_before_start(caller().fingerprint):
            raise Refused(
                f"{caller().address} was removed from this cluster when this node last "
                "read it; ask again in a moment."
            )

    _peer_routes(bp, runtime)
    _admin_routes(bp, runtime)
    _join_routes(bp, runtime)
    _recovery_routes(bp, runtime)
    return bp


def _peer_routes(bp: Blueprint, runtime: HaRuntime) -> None:
    @bp.get("/heartbeat")
    def heartbeat() -> ResponseReturnValue:
        loop, cause = runtime.control_loop, runtime.database_problem
        return heartbeat_payload(
            loop.observation, loop.reason, boottime_ns(), cause
        ).as_json()

    @bp.post("/step-up")
    def step_up() -> ResponseReturnValue:
        runtime.replica_set.step_up()
        return {}

    @bp.post("/follow")
    def sync_from() -> ResponseReturnValue:
        address = AddressBody.from_body(sent_json()).address
        host = f"{address}:{runtime.settings.database_port}"
        set_sync_source(runtime.replica_set, runtime.settings.node_address, host)
        return {}

    @bp.post("/give-up-vote")
    def give_up_vote() -> ResponseReturnValue:
        address = AddressBody.from_body(sent_json()).address
        if address != caller().address:
            raise Refused(f"{caller().address} cannot give up the vote of {address}.")
        _check_serving(runtime)
        runtime.membership.remove_vote(address)
        return {}

    @bp.get("/papers")
    def send_secrets() -> ResponseReturnValue:
        runtime.membership.check_admitted(caller().address, caller().fingerprint)
        return cluster_secrets(runtime.settings.folders)


def _admin_routes(bp: Blueprint, runtime: HaRuntime) -> None:
    @bp.get("/cluster")
    def cluster() -> ResponseReturnValue:
        return runtime.get_cluster().as_json()

    @bp.get("/metrics")
    def metrics() -> ResponseReturnValue:
        return MetricsResponse(
            text=runtime.metrics.text(runtime.get_cluster())
        ).as_json()

    @bp.post("/apply")
    def apply() -> ResponseReturnValue:
        _check_serving(runtime)
        return AdmittedResponse(admitted=runtime.membership.apply()).as_json()

    @bp.post("/remove")
    def remove() -> ResponseReturnValue:
        _check_serving(runtime)
        runtime.membership.remove(AddressBody.from_body(sent_json()).address)
        return {}

    @bp.post("/switchover")
    def switchover() -> ResponseReturnValue:
        _check_serving(runtime)
        target = TargetBody.from_body(sent_json()).address
        runtime.request_switchover(target, "a switchover was asked for")
        return {}


def _recovery_routes(bp: Blueprint, runtime: HaRuntime) -> None:
    @bp.get("/recovery")
    def plan() -> ResponseReturnValue:
        return runtime.recovery.plan().as_json()

    @bp.post("/recovery")
    def recover() -> ResponseReturnValue:
        mine = runtime.settings.node_address
        address = AddressBody.from_body(sent_json()).address
        if {address, caller().address} != {mine}:
            raise Refused(
                "Only the command line of this host can start a forced recovery."
            )
        runtime.recovery.execute()
        return {}


def _join_routes(bp: Blueprint, runtime: HaRuntime) -> None:
    @bp.post("/join-token")
    def join_token() -> ResponseReturnValue:
        body = TokenOwnerBody.from_body(sent_json())
        token, expires = runtime.requests.tokens.create(body.by)
        return NewTokenResponse(token=token, expires_at=expires).as_json()

    @bp.post("/join-requests")
    def request_to_join() -> ResponseReturnValue:
        body = JoinRequestBody.from_body(sent_json())
        wanted = JoinRequest(
            address=body.address,
            version=body.version,
            fingerprint=fingerprint(body.request.encode()),
            approved=False,
            routed=is_behind_router(body.address, ROUTES.read_text()),
        )
        _check_serving(runtime)
        runtime.membership.request_join(body.token, wanted, body.request)
        return {}

    @bp.post("/join-check")
    def check() -> ResponseReturnValue:
        body = TokenUseBody.from_body(sent_json())
        runtime.requests.tokens.check(body.token, body.address)
        return {}

    @bp.get("/join-tokens")
    def tokens() -> ResponseReturnValue:
        return [token.as_json() for token in runtime.requests.tokens.list()]

    @bp.post("/revoke-token")
    def revoke() -> ResponseReturnValue:
        runtime.requests.revoke_token(TokenIdBody.from_body(sent_json()).id)
        return {}

    @bp.post("/join-answer")
    def join_answer() -> ResponseReturnValue:
        body = TokenUseBody.from_body(sent_json())
        return runtime.membership.join_response(body.token, body.address).as_json()


def _check_address(address: str) -> None:
    try:
        IPv4Address(address)
    except ValueError:
        raise Refused(
            f"{address[:80]!r} is no IPv4 address; set NODE_ADDRESS on the host that "
            "asks to join"
        ) from None


def _check_serving(runtime: HaRuntime) -> None:
    if runtime.control_loop.observation.held_lease is None:
        mine, primary = runtime.settings.node_address, runtime.get_cluster().primary
        raise Refused(
            f"{mine} does not serve; ask the primary ({primary or 'no node'})."
        )
