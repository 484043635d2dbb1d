"""Heartbeats: asks each peer, several times a second, what it knows of itself."""

import logging
import threading
from collections.abc import Callable
from dataclasses import replace

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
ANSWER_SECONDS = 1.0
PAUSE_INTERVALS = 25
LONGEST_CAUSE = 1000
log = logging.getLogger(__name__)


class Heartbeat(NodeMessage):
    """What a node tells its peers of itself; `Peer` says what each member means.

    *holding* stays at an epoch until its ports are closed, also after the lease
    is dropped; 0 is a promise never to serve under any epoch granted so far. A node
    of an earlier release tells no *cause*.
    """

    address: str
    state: str
    writable: bool
    mongod_alive: bool
    primary: str | None
    optime: tuple[int, int]
    holding: int
    taking: bool
    hears: tuple[str, ...]
    resting: bool
    version: str
    reason: str
    cause: str = ""


def heartbeat_of(
    seen: Observation, reason: str, now: int, cause: str = ""
) -> Heartbeat:
    """Return what this node tells its peers of itself."""
    serving = seen.renounced if seen.ports is not Ports.CLOSED else 0
    return Heartbeat(
        address=seen.me,
        state=seen.member.state if seen.member else "UNKNOWN",
        writable=bool(seen.member and seen.member.writable),
        # A silent mongod may only be slow; the lease tells when it is too slow.
        mongod_alive=seen.member is None or seen.member.alive,
        primary=seen.member.primary if seen.member else None,
        optime=seen.optime,
        holding=seen.hold.document.epoch if seen.hold else serving,
        taking=seen.taking,
        hears=tuple(
            peer.address
            for peer in seen.peers
            if peer.writable and seen.is_heard(peer, now)
        ),
        resting=now < seen.resting_until,
        version=__version__,
        reason=reason,
        cause=cause,
    )


def peer_from(old: Peer, heartbeat: Heartbeat, sent_at: int) -> Peer:
    """Return the peer as its answer to the request sent at *sent_at* tells."""
    return replace(
        old,
        heard_at=sent_at,
        refused=False,
        lost_at=0 if heartbeat.mongod_alive else old.lost_at or sent_at,
        claimed_at=sent_at if heartbeat.writable else old.claimed_at,
        state=heartbeat.state,
        writable=heartbeat.writable,
        mongod_alive=heartbeat.mongod_alive,
        primary=heartbeat.primary,
        optime=heartbeat.optime,
        holding=heartbeat.holding,
        taking=heartbeat.taking,
        hears=heartbeat.hears,
        resting=heartbeat.resting,
        version=heartbeat.version,
        reason=heartbeat.reason,
        cause=heartbeat.cause[:LONGEST_CAUSE],
    )


class Heartbeats:
    """One thread a peer; posts what each answers, or that its host refuses.

    When one is found lost, the others are asked at once: who stands for election must
    know how recent they are.
    """

    def __init__(
        self,
        interval_seconds: float,
        client_of: Callable[[str], NodeClient],
        post: Callable[[Update], None],
    ) -> None:
        self._interval = interval_seconds
        self._client_of = client_of
        self._post = post
        self._wakes: dict[str, threading.Event] = {}
        self._lost: set[str] = set()

    def follow(self, addresses: set[str]) -> None:
        """Send heartbeats to exactly these *addresses* from now on."""
        for gone in self._wakes.keys() - addresses:
            self._wakes.pop(gone).set()
        for new in addresses - self._wakes.keys():
            wake = self._wakes[new] = threading.Event()
            threading.Thread(
                target=self._run, args=(new, wake), name=f"beat-{new}", daemon=True
            ).start()

    def stop(self) -> None:
        """Send no more."""
        self.follow(set())

    def _run(self, address: str, wake: threading.Event) -> None:
        try:
            while self._wakes.get(address) is wake:
                self._ask(address, wake)
        except Exception:
            abort_process(
                f"the heartbeats to {address} ended in an error nobody foresaw"
            )

    def _ask(self, address: str, wake: threading.Event) -> None:
        """Send heartbeats, until they are not wanted or our certificate is no good."""
        try:
            with self._client_of(address) as client:
                while self._wakes.get(address) is wake:
                    started = boottime_ns()
                    wake.clear()
                    self._note(address, lost=self._beat(client))
                    spent = (boottime_ns() - started) / SECOND
                    wake.wait(max(self._interval - spent, 0.01))
        except ConsoleError as error:
            log.warning("%s gets no heartbeats now: %s", address, error)
            wake.clear()
            wake.wait(PAUSE_INTERVALS * self._interval)

    def _note(self, address: str, *, lost: bool) -> None:
        if not lost:
            self._lost.discard(address)
        elif address not in self._lost:
            self._lost.add(address)
            for other, wake in list(self._wakes.items()):
                if other != address:
                    wake.set()

    def _beat(self, client: NodeClient) -> bool:
        """Ask once; says whether the node is lost: it refuses, or has no mongod."""
        address = client.address
        sent_at = boottime_ns()
        try:
            answer = client.get(PATH, timeout=ANSWER_SECONDS)
        except NodeUnreachable as error:
            if error.refused:
                self._post(lambda seen: _refused(seen, address, sent_at))
            return error.refused
        except Removed as error:
            reason = str(error)
            self._post(lambda seen: transitions.resting(seen, FOREVER, reason))
            return False
        except Refused as error:
            log.warning("%s refused a heartbeat: %s", address, error)
            return False
        try:
            heartbeat = Heartbeat.model_validate(answer)
        except ValueError as error:
            log.warning("%s answered a heartbeat with %r: %s", address, answer, error)
            return False
        self._post(lambda seen: _heard(seen, address, heartbeat, sent_at))
        return not heartbeat.mongod_alive


def _heard(
    seen: Observation, address: str, heartbeat: Heartbeat, sent_at: int
) -> Observation:
    old = seen.peer(address)
    if old is None:
        return seen
    return transitions.peer_heard(seen, peer_from(old, heartbeat, sent_at))


def _refused(seen: Observation, address: str, sent_at: int) -> Observation:
    old = seen.peer(address)
    if old is None:
        return seen
    gone = replace(old, refused=True, lost_at=old.lost_at or sent_at)
    return transitions.peer_heard(seen, gone)
