"""What high availability answers on the node API: to peers, pages and commands."""

from pathlib import Path

from flask import Blueprint, request
from flask.typing import ResponseReturnValue

from plugins.ha.membership.join_client import papers
from plugins.ha.membership.rules import JoinRequest, is_behind_router
from plugins.ha.messages import (
    AddressBody,
    AdmittedAnswer,
    JoinRequestBody,
    MetricsAnswer,
    NewTokenAnswer,
    TargetBody,
    TokenIdBody,
    TokenOwnerBody,
    TokenUseBody,
)
from plugins.ha.peers.heartbeats import heartbeat_of
from plugins.ha.replication.sync_source import follow
from plugins.ha.runtime import HighAvailability
from twistlock_console.common.clock import boottime_ns
from twistlock_console.common.errors import Refused, Removed
from twistlock_console.node_api.server import caller
from twistlock_console.pki.certificates import fingerprint

ROUTES = Path("/proc/net/route")


def node_routes(room: HighAvailability) -> Blueprint:
    """The routes under /v1/ha, answered from *room*."""
    bp = Blueprint("ha", __name__, url_prefix="/v1/ha")

    @bp.before_app_request
    def turn_away() -> None:
        # From all of the node API; but a removed node may ask itself how it is.
        asks_itself = caller().address == room.settings.node_address
        if asks_itself and request.blueprint != bp.name:
            return
        if room.register.is_removed(caller().fingerprint):
            raise Removed(f"{caller().address} was removed from this cluster.")
        if room.register.was_removed(caller().fingerprint):
            raise Refused(
                f"{caller().address} was removed from this cluster when this node last "
                "read it; ask again in a moment."
            )

    _peer_routes(bp, room)
    _admin_routes(bp, room)
    _join_routes(bp, room)
    _recovery_routes(bp, room)
    return bp


def _peer_routes(bp: Blueprint, room: HighAvailability) -> None:
    @bp.get("/heartbeat")
    def heartbeat() -> ResponseReturnValue:
        loop, cause = room.control_loop, room.database_problem
        return heartbeat_of(loop.seen, loop.reason, boottime_ns(), cause).as_json()

    @bp.post("/step-up")
    def step_up() -> ResponseReturnValue:
        room.replica_set.step_up()
        return {}

    @bp.post("/follow")
    def follow_another() -> ResponseReturnValue:
        address = AddressBody.from_body(_content()).address
        host = f"{address}:{room.settings.database_port}"
        follow(room.replica_set, room.settings.node_address, host)
        return {}

    @bp.post("/give-up-vote")
    def give_up_vote() -> ResponseReturnValue:
        address = AddressBody.from_body(_content()).address
        if address != caller().address:
            raise Refused(f"{caller().address} cannot give up the vote of {address}.")
        _serving(room)
        room.membership.take_vote(address)
        return {}

    @bp.get("/papers")
    def all_papers() -> ResponseReturnValue:
        room.membership.check_admitted(caller().address, caller().fingerprint)
        return papers(room.settings.folders)


def _admin_routes(bp: Blueprint, room: HighAvailability) -> None:
    @bp.get("/cluster")
    def cluster() -> ResponseReturnValue:
        return room.view().as_json()

    @bp.get("/metrics")
    def metrics() -> ResponseReturnValue:
        return MetricsAnswer(text=room.metrics.text(room.view())).as_json()

    @bp.post("/apply")
    def apply() -> ResponseReturnValue:
        _serving(room)
        return AdmittedAnswer(admitted=room.membership.apply()).as_json()

    @bp.post("/remove")
    def remove() -> ResponseReturnValue:
        _serving(room)
        room.membership.remove(AddressBody.from_body(_content()).address)
        return {}

    @bp.post("/switchover")
    def switchover() -> ResponseReturnValue:
        _serving(room)
        target = TargetBody.from_body(_content()).address
        room.hand_over(target, "a switchover was asked for")
        return {}


def _recovery_routes(bp: Blueprint, room: HighAvailability) -> None:
    @bp.get("/recovery")
    def plan() -> ResponseReturnValue:
        return room.recovery.plan().as_json()

    @bp.post("/recovery")
    def recover() -> ResponseReturnValue:
        mine = room.settings.node_address
        address = AddressBody.from_body(_content()).address
        if {address, caller().address} != {mine}:
            raise Refused("Only this host's own command line can ask for recovery.")
        room.recovery.execute()
        return {}


def _join_routes(bp: Blueprint, room: HighAvailability) -> None:
    @bp.post("/join-token")
    def join_token() -> ResponseReturnValue:
        body = TokenOwnerBody.from_body(_content())
        token, expires = room.requests.tokens.new(body.by)
        return NewTokenAnswer(token=token, expires_at=expires).as_json()

    @bp.post("/join-requests")
    def ask() -> ResponseReturnValue:
        body = JoinRequestBody.from_body(_content())
        wanted = JoinRequest(
            address=body.address,
            version=body.version,
            fingerprint=fingerprint(body.request.encode()),
            approved=False,
            routed=is_behind_router(body.address, ROUTES.read_text()),
        )
        _serving(room)
        room.membership.ask(body.token, wanted, body.request)
        return {}

    @bp.post("/join-check")
    def check() -> ResponseReturnValue:
        body = TokenUseBody.from_body(_content())
        room.requests.tokens.check(body.token, body.address)
        return {}

    @bp.get("/join-tokens")
    def tokens() -> ResponseReturnValue:
        return [token.as_json() for token in room.requests.tokens.list()]

    @bp.post("/revoke-token")
    def revoke() -> ResponseReturnValue:
        room.requests.revoke_token(TokenIdBody.from_body(_content()).id)
        return {}

    @bp.post("/join-answer")
    def answer() -> ResponseReturnValue:
        body = TokenUseBody.from_body(_content())
        return room.membership.answer(body.token, body.address).as_json()


def _serving(room: HighAvailability) -> None:
    if room.control_loop.seen.hold is None:
        primary = room.view().primary or "no node"
        raise Refused(
            f"{room.settings.node_address} does not serve; ask the primary ({primary})."
        )


def _content() -> object:
    return request.get_json(silent=True)
