"""Exchange heartbeats: request each peer's state several times a second.

A peer that stays silent for `Timing.step_up_after` counts as unreachable.
"""

import logging
import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from pydantic import Field

from plugins.ha.consensus import transitions
from plugins.ha.consensus.state import Observation, Peer, Ports, Update
from twistlock_console import __version__
from twistlock_console.common.clock import SECOND, boottime_ns
from twistlock_console.common.errors import (
    ConsoleError,
    NodeUnreachable,
    Refused,
    Removed,
)
from twistlock_console.node_api.client import NodeClient
from twistlock_console.node_api.messages import NodeMessage
from twistlock_console.system.processes import abort_process
from twistlock_console.system.serving_permit import FOREVER

PATH = "/v1/ha/heartbeat"
RESPONSE_TIMEOUT_S = 1.0
RETRY_INTERVALS = 25
MAX_PROBLEM_CHARS = 1000
log = logging.getLogger(__name__)


def _key(name: str, **options: Any) -> Any:
    """Return a field whose key in JSON is *name*."""
    return Field(validation_alias=name, serialization_alias=name, **options)


class Heartbeat(NodeMessage):
    """The heartbeat payload: this node's state; `Peer` describes the fields.

    *serving_epoch* stays at an epoch until the ports are closed, also after the lease
    was renounced; 0 is a promise never to serve under any epoch granted so far. A node
    of an earlier release sends no *database_problem*. Five keys in JSON keep their
    names of before, so that nodes of both releases understand each other.
    """

    address: str
    state: str
    writable: bool
    mongod_alive: bool
    primary: str | None
    optime: tuple[int, int]
    serving_epoch: int = _key("holding")
    acquire_pending: bool = _key("taking")
    reachable_primaries: tuple[str, ...] = _key("hears")
    in_cooldown: bool = _key("resting")
    version: str
    reason: str
    database_problem: str = _key("cause", default="")


def heartbeat_payload(
    observation: Observation, reason: str, now: int, cause: str = ""
) -> Heartbeat:
    """Return this node's heartbeat payload.

    *reason* is that of the last decision, *cause* why the database cannot be used.
    """
    serving = (
        observation.last_renounced_epoch if observation.ports is not Ports.CLOSED else 0
    )
    return Heartbeat(
        address=observation.self_address,
        state=observation.member.state if observation.member else "UNKNOWN",
        writable=bool(observation.member and observation.member.writable),
        # A silent mongod may only be slow; its lease expires if it is too slow.
        mongod_alive=observation.member is None or observation.member.alive,
        primary=observation.member.primary if observation.member else None,
        optime=observation.optime,
        serving_epoch=observation.held_lease.document.epoch
        if observation.held_lease
        else serving,
        acquire_pending=observation.acquire_pending,
        reachable_primaries=tuple(
            peer.address
            for peer in observation.peers
            if peer.writable and observation.is_reachable(peer, now)
        ),
        in_cooldown=now < observation.cooldown_until,
        version=__version__,
        reason=reason,
        database_problem=cause,
    )


def peer_from_heartbeat(old: Peer, heartbeat: Heartbeat, sent_at: int) -> Peer:
    """Return the peer after its *heartbeat*, the answer to a request of *sent_at*."""
    return replace(
        old,
        heard_at=sent_at,
        refused=False,
        lost_at=0 if heartbeat.mongod_alive else old.lost_at or sent_at,
        primary_claimed_at=sent_at if heartbeat.writable else old.primary_claimed_at,
        state=heartbeat.state,
        writable=heartbeat.writable,
        mongod_alive=heartbeat.mongod_alive,
        primary=heartbeat.primary,
        optime=heartbeat.optime,
        serving_epoch=heartbeat.serving_epoch,
        acquire_pending=heartbeat.acquire_pending,
        reachable_primaries=heartbeat.reachable_primaries,
        in_cooldown=heartbeat.in_cooldown,
        version=heartbeat.version,
        reason=heartbeat.reason,
        database_problem=heartbeat.database_problem[:MAX_PROBLEM_CHARS],
    )


class HeartbeatSender:
    """Sends heartbeats from one thread per peer, and submits the outcomes.

    When a peer is found lost, the others get a heartbeat at once: a candidate needs
    their current oplog positions.
    """

    def __init__(
        self,
        interval_seconds: float,
        client_of: Callable[[str], NodeClient],
        submit: Callable[[Update], None],
    ) -> None:
        self._interval = interval_seconds
        self._client_of = client_of
        self._submit = submit
        self._wake_events: dict[str, threading.Event] = {}
        self._lost_peers: set[str] = set()

    def set_peers(self, addresses: set[str]) -> None:
        """Send heartbeats to exactly the peers at *addresses* from now on."""
        for gone in self._wake_events.keys() - addresses:
            self._wake_events.pop(gone).set()
        for new in addresses - self._wake_events.keys():
            wake = self._wake_events[new] = threading.Event()
            threading.Thread(
                target=self._run, args=(new, wake), name=f"beat-{new}", daemon=True
            ).start()

    def stop(self) -> None:
        """Stop all threads; a heartbeat in flight may still end."""
        self.set_peers(set())

    def _run(self, address: str, wake: threading.Event) -> None:
        try:
            while self._wake_events.get(address) is wake:
                self._send_heartbeats(address, wake)
        except Exception:
            abort_process(f"unexpected error in the heartbeats to {address}")

    def _send_heartbeats(self, address: str, wake: threading.Event) -> None:
        """Send heartbeats until the peer is dropped or our certificate is invalid."""
        try:
            with self._client_of(address) as client:
                while self._wake_events.get(address) is wake:
                    started = boottime_ns()
                    wake.clear()
                    self._wake_others(address, lost=self._exchange(client))
                    spent = (boottime_ns() - started) / SECOND
                    wake.wait(max(self._interval - spent, 0.01))
        except ConsoleError as error:
            log.warning("no heartbeats to %s for now: %s", address, error)
            wake.clear()
            wake.wait(RETRY_INTERVALS * self._interval)

    def _wake_others(self, address: str, *, lost: bool) -> None:
        if not lost:
            self._lost_peers.discard(address)
        elif address not in self._lost_peers:
            self._lost_peers.add(address)
            for other, wake in list(self._wake_events.items()):
                if other != address:
                    wake.set()

    def _exchange(self, client: NodeClient) -> bool:
        """Send one heartbeat; return whether the peer is lost.

        It is if its host refuses, or its mongod does not run.
        """
        address = client.address
        sent_at = boottime_ns()
        try:
            answer = client.get(PATH, timeout=RESPONSE_TIMEOUT_S)
        except NodeUnreachable as error:
            if error.refused:
                self._submit(
                    lambda observation: record_refusal(observation, address, sent_at)
                )
            return error.refused
        except Removed as error:
            reason = str(error)
            self._submit(
                lambda observation: transitions.enter_cooldown(
                    observation, FOREVER, reason
                )
            )
            return False
        except Refused as error:
            log.warning("%s refused a heartbeat: %s", address, error)
            return False
        try:
            heartbeat = Heartbeat.model_validate(answer)
        except ValueError as error:
            log.warning("%s sent an invalid heartbeat %r: %s", address, answer, error)
            return False
        self._submit(
            lambda observation: record_heartbeat(
                observation, address, heartbeat, sent_at
            )
        )
        return not heartbeat.mongod_alive


def record_heartbeat(
    observation: Observation, address: str, heartbeat: Heartbeat, sent_at: int
) -> Observation:
    """Apply the *heartbeat* of *address*, in answer to the request of *sent_at*."""
    old = observation.peer(address)
    if old is None:
        return observation
    return transitions.heartbeat_received(
        observation, peer_from_heartbeat(old, heartbeat, sent_at)
    )


def record_refusal(observation: Observation, address: str, sent_at: int) -> Observation:
    """Note that the host at *address* refused the request sent at *sent_at*."""
    old = observation.peer(address)
    if old is None:
        return observation
    gone = replace(old, refused=True, lost_at=old.lost_at or sent_at)
    return transitions.heartbeat_received(observation, gone)
