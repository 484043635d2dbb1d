"""What high availability answers on the node API: to peers, pages and commands."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from flask import Blueprint, request
from flask.typing import ResponseReturnValue

from plugins.ha.membership.join_client import papers
from plugins.ha.membership.rules import JoinRequest, is_behind_router
from plugins.ha.peers.heartbeats import testimony
from plugins.ha.replication.sync_source import follow
from plugins.ha.runtime import HighAvailability
from twistlock_console.common.clock import boottime_ns
from twistlock_console.common.errors import Refused, Removed
from twistlock_console.node_api.server import caller
from twistlock_console.pki.certificates import (
    accepted_authorities,
    fingerprint,
    stored_phase,
)
from twistlock_console.pki.identity_files import AUTHORITY
from twistlock_console.pki.trust_phase import TrustPhase

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
        told = testimony(
            room.control_loop.seen, room.control_loop.reason, boottime_ns()
        )
        return {**told, "cause": room.database_problem}

    @bp.post("/step-up")
    def step_up() -> ResponseReturnValue:
        room.replica_set.step_up()
        return {}

    @bp.post("/follow")
    def follow_another() -> ResponseReturnValue:
        host = f"{_text(_body(), 'address')}:{room.settings.database_port}"
        follow(room.replica_set, room.settings.node_address, host)
        return {}

    @bp.post("/give-up-vote")
    def give_up_vote() -> ResponseReturnValue:
        address = _text(_body(), "address")
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
        return room.view()

    @bp.get("/metrics")
    def metrics() -> ResponseReturnValue:
        return {"text": room.metrics.text(room.view())}

    @bp.post("/apply")
    def apply() -> ResponseReturnValue:
        _serving(room)
        return {"admitted": room.membership.apply()}

    @bp.post("/remove")
    def remove() -> ResponseReturnValue:
        _serving(room)
        room.membership.remove(_text(_body(), "address"))
        return {}

    @bp.post("/switchover")
    def switchover() -> ResponseReturnValue:
        _serving(room)
        room.hand_over(_body().get("address"), "a switchover was asked for")
        return {}


def _recovery_routes(bp: Blueprint, room: HighAvailability) -> None:
    @bp.get("/recovery")
    def prospect() -> ResponseReturnValue:
        found = room.recovery.prospect()
        until = found.stored_until
        return {
            "address": found.address,
            "others": list(found.others),
            "storedUntil": until.isoformat(timespec="seconds") if until else None,
        }

    @bp.post("/recovery")
    def recover() -> ResponseReturnValue:
        mine = room.settings.node_address
        if {_text(_body(), "address"), caller().address} != {mine}:
            raise Refused("Only this host's own command line can ask for recovery.")
        room.recovery.perform()
        return {}


def _join_routes(bp: Blueprint, room: HighAvailability) -> None:
    @bp.post("/join-token")
    def join_token() -> ResponseReturnValue:
        token, expires = room.requests.tokens.new(str(_body().get("by", "")))
        return {"token": token, "expiresAt": expires.isoformat(timespec="seconds")}

    @bp.post("/join-requests")
    def ask() -> ResponseReturnValue:
        body = _body()
        csr = _text(body, "request")
        wanted = JoinRequest(
            address=_text(body, "address"),
            version=_text(body, "version"),
            fingerprint=fingerprint(csr.encode()),
            approved=False,
            routed=is_behind_router(_text(body, "address"), ROUTES.read_text()),
        )
        _serving(room)
        room.membership.ask(_text(body, "token"), wanted, csr)
        return {}

    @bp.post("/join-check")
    def check() -> ResponseReturnValue:
        body = _body()
        room.requests.tokens.check(_text(body, "token"), _text(body, "address"))
        return {}

    @bp.get("/join-tokens")
    def tokens() -> ResponseReturnValue:
        return [
            {
                "id": token.token_id,
                "expiresAt": token.expires.isoformat(timespec="seconds"),
                "host": token.host,
            }
            for token in room.requests.tokens.list()
        ]

    @bp.post("/revoke-token")
    def revoke() -> ResponseReturnValue:
        room.requests.revoke_token(_text(_body(), "id"))
        return {}

    @bp.post("/join-answer")
    def answer() -> ResponseReturnValue:
        body = _body()
        address = _text(body, "address")
        found = room.requests.answer(_text(body, "token"), address)
        # Whom to ask from now on: the role may move before the host is admitted.
        nodes = room.register.pins()
        nodes.pop(address, None)
        folder = room.settings.folders.certificates
        return {**found, **_trust(folder, found), "nodes": nodes}


def _trust(folder: Path, found: Mapping[str, Any]) -> dict[str, Any]:
    """What the new node must show to the others now, and whom it must accept."""
    phase = stored_phase(folder)
    # Nodes of an earlier release accept no other certificate yet.
    is_old = phase is TrustPhase.ACCEPT_BOTH
    return {
        "authority": (folder / AUTHORITY).read_text(),
        "clusterAuthorities": accepted_authorities(folder, phase).decode(),
        "clusterCertificate": found["certificate" if is_old else "clusterCertificate"],
    }


def _serving(room: HighAvailability) -> None:
    if room.control_loop.seen.hold is None:
        primary = room.view()["primary"] or "no node"
        raise Refused(
            f"{room.settings.node_address} does not serve; ask the primary ({primary})."
        )


def _body() -> Mapping[str, Any]:
    body = request.get_json(silent=True)
    return body if isinstance(body, dict) else {}


def _text(body: Mapping[str, Any], key: str) -> str:
    value = body.get(key)
    if not isinstance(value, str) or not value:
        raise Refused(f'"{key}" is missing or is no text.')
    return value
