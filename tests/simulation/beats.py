"""Heartbeats between simulated nodes, with the real payload and the real reader."""

from functools import partial
from typing import TYPE_CHECKING

from plugins.ha.consensus.state import Observation, Update
from plugins.ha.peers import heartbeats
from tests.simulation.world import MILLISECOND, SECOND, Call

if TYPE_CHECKING:
    from tests.simulation.node import Node

HEARTBEAT = 200 * MILLISECOND


class Beat:
    """One heartbeat from *node* to *peer*, and the next once it is done or given up."""

    def __init__(self, node: "Node", peer: "Node") -> None:
        self._node = node
        self._peer = peer
        self._incarnation = node.node_process.incarnation
        self._sent_at = node.clock()
        self._done = False
        node.network.send("node", node.number, peer.number, self._arrive)
        node.node_process.after(SECOND, partial(self._finish, None))

    def _arrive(self) -> None:
        if self._peer.node_process.alive:
            self._peer.node_process.receive(self._answer)
        else:
            self._reply(partial(self._finish, self._refuse))

    def _answer(self) -> None:
        peer = self._peer
        payload = heartbeats.heartbeat_payload(
            peer.observation, peer.reason, peer.clock()
        )

        def heard(observation: Observation) -> Observation:
            return heartbeats.record_heartbeat(
                observation, peer.address, payload, self._sent_at
            )

        self._reply(partial(self._finish, heard))

    def _refuse(self, observation: Observation) -> Observation:
        return heartbeats.record_refusal(observation, self._peer.address, self._sent_at)

    def _reply(self, call: Call) -> None:
        node = self._node
        arrive = partial(node.node_process.receive, call)
        node.network.send("node", self._peer.number, node.number, arrive)

    def _finish(self, update: Update | None) -> None:
        node = self._node
        if self._done or node.node_process.incarnation != self._incarnation:
            return
        self._done = True
        if update is not None:
            node.submit(update)
        wait = max(HEARTBEAT - (node.clock() - self._sent_at), 10 * MILLISECOND)
        node.node_process.after(wait, partial(Beat, node, self._peer))
