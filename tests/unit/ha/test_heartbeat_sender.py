"""Rules of the threads that ask each peer: what is posted of each kind of answer."""

import queue
import threading
from typing import Any, Self, cast

import pytest

from plugins.ha.consensus.state import Observation, Update
from plugins.ha.peers.heartbeats import HeartbeatSender, heartbeat_payload
from tests.ha.observations import NOW, OTHER, THIRD, holder, standby
from twistlock_console.common.errors import (
    IdentityError,
    NodeUnreachable,
    Refused,
    Removed,
)
from twistlock_console.node_api.client import NodeClient
from twistlock_console.system.serving_permit import FOREVER

WAIT_SECONDS = 60.0
GOOD = heartbeat_payload(holder(), "serving under epoch 7", NOW).as_json()


class Answers:
    """Gives one answer again and again; an error is raised instead."""

    def __init__(self, address: str, answer: Any) -> None:
        self.address = address
        self.asked = threading.Semaphore(0)
        self.closed = threading.Event()
        self._answer = answer

    def get(self, path: str, *, timeout: float) -> Any:
        """Give the answer."""
        self.asked.release()
        if isinstance(self._answer, Exception):
            raise self._answer
        return self._answer

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *details: object) -> None:
        self.closed.set()


def asked_twice(answer: Any) -> list[Update]:
    """What is posted by a peer that was asked for the second time, then left alone."""
    posted: queue.SimpleQueue[Update] = queue.SimpleQueue()
    client = Answers(OTHER, answer)
    sender = HeartbeatSender(0.01, lambda _: cast("NodeClient", client), posted.put)
    sender.set_peers({OTHER})
    try:
        for _ in range(2):
            assert client.asked.acquire(timeout=WAIT_SECONDS)
    finally:
        sender.stop()
    assert client.closed.wait(WAIT_SECONDS)
    return [posted.get_nowait() for _ in range(posted.qsize())]


def learned(answer: Any) -> Observation:
    """What a standby knows after the first answer."""
    return asked_twice(answer)[0](standby())


def test_an_answer_is_posted() -> None:
    """The peer then has the state in its heartbeat."""
    peer = learned(GOOD).peer(OTHER)

    assert peer is not None
    assert (peer.serving_epoch, peer.reason) == (7, "serving under epoch 7")


def test_a_host_that_refuses_is_posted() -> None:
    """Nothing listens there: the node is gone, which silence would not say."""
    peer = learned(NodeUnreachable("nothing listens", refused=True)).peer(OTHER)

    assert peer is not None
    assert peer.refused
    assert peer.lost_at > 0


def test_a_removed_node_rests_for_good() -> None:
    """A peer that does not know us any more ends our standing for the role."""
    observation = learned(Removed("this node was removed"))

    assert (observation.cooldown_until, observation.cooldown_reason) == (
        FOREVER,
        "this node was removed",
    )


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(NodeUnreachable("no answer in time"), id="silence"),
        pytest.param(Refused("not one of ours"), id="refusal"),
        pytest.param({**GOOD, "optime": []}, id="no-optime"),
        pytest.param({}, id="empty"),
        pytest.param(None, id="nothing"),
        pytest.param({**GOOD, "holding": "seven"}, id="no-number"),
    ],
)
def test_nothing_is_learned_of_silence_or_nonsense(answer: Any) -> None:
    """A node that talks nonsense counts as one that was not heard, and is asked on."""
    assert asked_twice(answer) == []


def test_exactly_the_members_are_asked() -> None:
    """A peer that left is asked no more, one that stays is not asked twice as often."""
    made: queue.SimpleQueue[Answers] = queue.SimpleQueue()

    def client_of(address: str) -> NodeClient:
        client = Answers(address, GOOD)
        made.put(client)
        return cast("NodeClient", client)

    sender = HeartbeatSender(0.01, client_of, lambda _: None)
    sender.set_peers({OTHER})
    first = made.get(timeout=WAIT_SECONDS)
    assert first.asked.acquire(timeout=WAIT_SECONDS)
    sender.set_peers({OTHER, THIRD})
    sender.set_peers({THIRD})

    assert first.closed.wait(WAIT_SECONDS)
    last = made.get(timeout=WAIT_SECONDS)
    assert last.asked.acquire(timeout=WAIT_SECONDS)
    sender.stop()
    assert last.closed.wait(WAIT_SECONDS)
    assert made.empty()
    assert (first.address, last.address) == (OTHER, THIRD)


def test_a_certificate_that_cannot_be_used_now_is_waited_for() -> None:
    """The peer is asked as soon as there is one."""
    client = Answers(OTHER, GOOD)
    refusals = iter([IdentityError("the certificate is not valid yet")])

    def client_of(_address: str) -> NodeClient:
        for refusal in refusals:
            raise refusal
        return cast("NodeClient", client)

    sender = HeartbeatSender(0.01, client_of, lambda _: None)
    sender.set_peers({OTHER})

    assert client.asked.acquire(timeout=WAIT_SECONDS)
    sender.stop()
    assert client.closed.wait(WAIT_SECONDS)


def test_the_others_are_asked_at_once_when_one_is_lost() -> None:
    """Once, not again and again: whoever stands must know how recent they are."""
    gone = Answers(OTHER, {**GOOD, "mongodAlive": False})
    other = Answers(THIRD, GOOD)
    clients = {OTHER: gone, THIRD: other}
    sender = HeartbeatSender(
        60, lambda a: cast("NodeClient", clients[a]), lambda _: None
    )
    sender.set_peers({THIRD})
    assert other.asked.acquire(timeout=WAIT_SECONDS)
    sender.set_peers({OTHER, THIRD})
    try:
        assert other.asked.acquire(timeout=WAIT_SECONDS)
        assert not other.asked.acquire(timeout=0.2)
    finally:
        sender.stop()
